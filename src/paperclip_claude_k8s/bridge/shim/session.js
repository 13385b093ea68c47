// The session codec. The server calls it synchronously, so it is implemented here and not in Python; it behaves like
// `paperclip_claude_k8s.host.session`, from which facts.json has the fields.

/** `fields`: {name of each stored field: [the names under which it may be found]}. */
export function newSessionCodec(fields) {
  function deserialize(raw) {
    if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return null;
    const params = {};
    for (const [name, spellings] of Object.entries(fields)) {
      const text = spellings.map((key) => raw[key]).filter((value) => typeof value === "string").map((value) => value.trim()).find(Boolean);
      if (text !== undefined) params[name] = text;
    }
    return "sessionId" in params ? params : null;
  }

  return {
    deserialize,
    serialize: deserialize,
    getDisplayId: (params) => deserialize(params)?.sessionId ?? null,
  };
}
