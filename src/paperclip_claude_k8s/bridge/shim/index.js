// What the Paperclip server loads: an adapter object whose work is done by one Python process,
// `python -m paperclip_claude_k8s.bridge`. Written by `claude-k8s node-shim`; facts.json holds what that
// version of the Python package says of itself.
import fs from "node:fs";

// The server reloads an adapter by importing its entry with a new query; the parts must follow.
const fresh = new URL(import.meta.url).search;
const part = (name) => import(`./${name}${fresh}`);
const facts = JSON.parse(fs.readFileSync(new URL("./facts.json", import.meta.url), "utf8"));
const { Bridge } = await part("bridge.js");
const { executeBy } = await part("run.js");
const { sessionCodec } = await part("session.js");
const { hostTexts } = await part("texts.js");

/** The module object of the server's adapter contract; touches nothing until it is asked something. */
export function createServerAdapter() {
  const bridge = new Bridge(facts);
  const ask = (method, params, fallback) =>
    bridge.call(method, params).catch((error) => {
      console.warn(`[${facts.type}] ${method}: ${error.message}`);
      return fallback;
    });
  return {
    ...facts.members,
    type: facts.type,
    models: facts.models,
    sessionCodec,
    execute: (ctx) => executeBy(bridge, hostTexts, ctx),
    testEnvironment: (ctx) => testEnvironment(bridge, ctx),
    listModels: () => ask("listModels", {}, facts.models),
    refreshModels: () => ask("refreshModels", {}, facts.models),
    detectModel: () => ask("detectModel", {}, null),
    getConfigSchema: () => ask("getConfigSchema", {}, facts.configSchema),
    getQuotaWindows: () => ask("getQuotaWindows", {}, {
      provider: "anthropic", ok: false, windows: [], error: "the Python package cannot be reached",
    }),
    listSkills: (ctx) => skills(bridge, "listSkills", { ctx: plain(ctx) }),
    syncSkills: (ctx, desired) => skills(bridge, "syncSkills", { ctx: plain(ctx), desired }),
  };
}

/** Never throws: that the bridge does not work is the first thing an environment test has to say. */
async function testEnvironment(bridge, ctx) {
  try {
    const checkup = await bridge.call("testEnvironment", { ctx: plain(ctx) });
    return { ...checkup, checks: [bridgeCheck(bridge.peer), ...checkup.checks] };
  } catch (error) {
    const check = { code: error.code ?? "adapter_failed", level: "error", message: error.message };
    return { adapterType: facts.type, status: "fail", checks: [check], testedAt: new Date().toISOString() };
  }
}

/** A skills page without skills says why. */
async function skills(bridge, method, params) {
  try {
    return await bridge.call(method, params);
  } catch ({ message }) {
    return { adapterType: facts.type, supported: true, mode: "ephemeral", desiredSkills: [], entries: [], warnings: [message] };
  }
}

function bridgeCheck({ version, python }) {
  const message = `Bridge: Python ${python}, package ${version}`;
  if (version === facts.version) return { code: "k8s_bridge", level: "info", message };
  return {
    code: "k8s_bridge", level: "warn", message: `${message}; this shim was written by version ${facts.version}`,
    hint: "Write it again: claude-k8s node-shim --out DIR",
  };
}

/** Without functions and what else no JSON can carry. */
const plain = (ctx) => Object.fromEntries(Object.entries(ctx ?? {}).filter(([, value]) => typeof value !== "function"));
