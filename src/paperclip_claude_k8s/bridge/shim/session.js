// The session codec. The server calls it synchronously, so it is implemented here and not in Python; it behaves like
// `paperclip_claude_k8s.host.session`.
const SPELLINGS = {
  sessionId: ["sessionId", "session_id"],
  cwd: ["cwd", "workdir", "folder"],
  workspaceId: ["workspaceId", "workspace_id"],
  repoUrl: ["repoUrl", "repo_url"],
  repoRef: ["repoRef", "repo_ref"],
  promptBundleKey: ["promptBundleKey", "prompt_bundle_key"],
  mcpServerIdentity: ["mcpServerIdentity", "mcp_server_identity"],
};

function deserialize(raw) {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return null;
  const params = {};
  for (const [name, spellings] of Object.entries(SPELLINGS)) {
    const text = spellings.map((key) => raw[key]).filter((value) => typeof value === "string").map((value) => value.trim()).find(Boolean);
    if (text !== undefined) params[name] = text;
  }
  return "sessionId" in params ? params : null;
}

export const sessionCodec = {
  deserialize,
  serialize: deserialize,
  getDisplayId: (params) => deserialize(params)?.sessionId ?? null,
};
