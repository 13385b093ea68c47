// Entry module for the Paperclip server: an adapter object that forwards its calls to one Python process,
// `python -m paperclip_claude_k8s.bridge`. Written by `claude-k8s node-shim`; facts.json describes the version of the
// Python package that wrote it.
import fs from "node:fs";

// The server reloads an adapter by importing its entry with a new query; the other modules need the same query.
const query = new URL(import.meta.url).search;
const part = (name) => import(`./${name}${query}`);
const facts = JSON.parse(fs.readFileSync(new URL("./facts.json", import.meta.url), "utf8"));
const { Bridge, isLeaseLost, serverStopped } = await part("bridge.js");
const { logFormat } = await part("page.js");
const { executeBy } = await part("run.js");
const { isOlder, serverVersion } = await part("server.js");
const { whileServerRuns } = await part("stop.js");
const { watchRun } = await part("stored.js");
const { newSessionCodec } = await part("session.js");
const { hostTexts } = await part("texts.js");

const LEVELS = ["error", "warn", "info"]; // what needs attention comes first

for (const { message, hint } of serverChecks()) console.warn(`[${facts.type}] ${message}. ${hint}`);

/** Creates the adapter object of the server's contract. Python is not started before the first call. */
export function createServerAdapter() {
  const bridge = new Bridge(facts);
  /** Calls Python; after a failure, logs a warning and returns `fallback`. */
  const callOr = (method, params, fallback) =>
    bridge.call(method, params).catch((error) => {
      console.warn(`[${facts.type}] ${method}: ${bridge.errorOf(error).message}`);
      return fallback;
    });
  return {
    ...facts.members,
    type: facts.type,
    models: facts.models,
    sessionCodec: newSessionCodec(facts.sessionFields),
    execute: (ctx) => executeBy({ bridge, hostTexts, logFormat, isLeaseLost, serverStopped, watchRun, whileServerRuns }, ctx),
    testEnvironment: (ctx) => testEnvironment(bridge, ctx),
    listModels: () => callOr("listModels", {}, facts.models),
    refreshModels: () => callOr("refreshModels", {}, facts.models),
    detectModel: () => callOr("detectModel", {}, null),
    getConfigSchema: () => callOr("getConfigSchema", {}, facts.configSchema),
    getQuotaWindows: () => callOr("getQuotaWindows", {}, {
      ok: false, windows: [], error: "the Python package is not available",
    }).then(quotaOf),
    listSkills: (ctx) => skills(bridge, "listSkills", ctx),
    syncSkills: (ctx, desired) => skills(bridge, "syncSkills", ctx, { desired }),
  };
}

/** Never throws: a bridge that does not work is the first finding of an environment test. */
async function testEnvironment(bridge, ctx) {
  try {
    const checkup = await bridge.call("testEnvironment", { ctx: { ...plain(ctx), setupMayFollow: true } });
    const checks = [...checkup.checks, ...serverChecks(), bridgeCheck(bridge.peer), transcriptCheck(await logFormat())];
    return { ...checkup, checks: LEVELS.flatMap((level) => checks.filter((check) => check.level === level)) };
  } catch (thrown) {
    const { code, message } = bridge.errorOf(thrown);
    const check = { code, level: "error", message };
    return { adapterType: facts.type, status: "fail", checks: [check], testedAt: new Date().toISOString() };
  }
}

/** If the bridge fails, returns an empty skills page with the error as a warning. */
async function skills(bridge, method, ctx, more = {}) {
  try {
    return await bridge.call(method, { ctx: plain(ctx), ...more });
  } catch (thrown) {
    const warnings = [bridge.errorOf(thrown).message];
    return { adapterType: facts.type, supported: true, mode: "ephemeral", desiredSkills: [], entries: [], warnings };
  }
}

/** Of the replies with the same provider, the page shows only the last one. So a failure must not have the name of a
 * provider whose limits another adapter may report. */
function quotaOf(reply) {
  return reply.ok ? reply : { ...reply, provider: facts.type };
}

function bridgeCheck({ version, python }) {
  const message = `Bridge: Python ${python}, package ${version}`;
  if (version === facts.version) return { code: "k8s_bridge", level: "info", message };
  return {
    code: "k8s_bridge", level: "warn", message: `${message}; this shim was written by version ${facts.version}`,
    hint: "Write the shim again: claude-k8s node-shim --out DIR",
  };
}

/** A warning if this server is older than those with which the adapter was tested. */
function serverChecks() {
  const version = serverVersion();
  if (!version || !isOlder(version, facts.minServer)) return [];
  return [{
    code: "k8s_server_version", level: "warn",
    message: `This Paperclip server has version ${version}; the adapter was tested with ${facts.minServer} and newer ones`,
    hint: "Update the server: older ones may not stop, retry or show runs of this adapter correctly",
  }];
}

function transcriptCheck({ format, why }) {
  const message = format === "events" ? "Transcripts are shown by this adapter's parser" : `Transcripts are plain text: ${why}`;
  return { code: "k8s_transcript", level: "info", message };
}

/** Returns the context without its functions, which JSON cannot represent. */
const plain = (ctx) => Object.fromEntries(Object.entries(ctx ?? {}).filter(([, value]) => typeof value !== "function"));
