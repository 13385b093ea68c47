// A minimal Paperclip-like host in Node: loads an npm package from its folder and runs the given steps with its adapter.
// stdin: {folder, steps: [{name, method, ctx, ...}]}, one JSON object; stdout: {results, callbacks, ...}, one JSON object.
import fs from "node:fs";
import { pathToFileURL } from "node:url";
import path from "node:path";

const { folder, steps } = JSON.parse(fs.readFileSync(0, "utf8"));
const manifest = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
const { createServerAdapter } = await import(pathToFileURL(path.join(folder, manifest.exports["."])).href);
const adapter = createServerAdapter();
const callbacks = {}; // name of a step -> what its run passed to the host's callbacks
let active = 0; // runs that have not returned
const stored = {}; // what the host has stored about each run
const isOpen = ({ status }) => status === "running";
// Signals that this host's own handler got. active: runs that had not returned. open: runs whose end was not stored.
const signals = [];
process.on("SIGTERM", () => { signals.push({ name: "SIGTERM", active, open: Object.values(stored).filter(isOpen).length }); });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// When the server has stored something about a run, it publishes an event to other parts of its process.
const { publishLiveEvent } = await import("@paperclipai/server/live-events");
function store(runId, record) {
  stored[runId] = record;
  publishLiveEvent({ companyId: "acme", type: "heartbeat.run.status", payload: { runId, ...record } });
}

function aContext(step) {
  const log = (callbacks[step.name] = { log: [], meta: [], progress: [], order: [], spawned: 0, maxConcurrent: 0 });
  const stop = new AbortController();
  Object.defineProperty(log, "stop", { value: stop }); // not part of the output
  let inLog = 0;
  let last = 0;
  return {
    ...step.ctx,
    signal: stop.signal,
    startupTraceContext: { circular: null, get self() { return this; } },
    runtimeMcp: { getServers: () => step.mcpServers ?? [] },
    onCancellationReady: async () => { log.order.push("ready"); if (step.stopAtOnce) stop.abort(new Error("stopped before")); },
    onDispatch: async () => { log.order.push("dispatch"); },
    onMeta: async (meta) => { log.meta.push(meta); },
    onRuntimeProgress: async (progress) => { log.progress.push(progress); },
    onSpawn: async () => { log.spawned += 1; },
    onLog: async (stream, chunk) => {
      log.maxConcurrent = Math.max(log.maxConcurrent, ++inLog);
      if (step.slowMs && Date.now() - last > step.slowMs) { await sleep(step.slowMs); last = Date.now(); }
      log.log.push([stream, chunk]);
      inLog -= 1;
      if (step.stopAt && chunk.includes(step.stopAt)) stop.abort(new Error("Cancelled by a person"));
      if (step.loseAt && chunk.includes(step.loseAt)) stop.abort(new Error("Legacy controller lease lost"));
      if (step.killAt && chunk.includes(step.killAt)) killBridge();
      if (step.sigtermAt && chunk.includes(step.sigtermAt)) process.kill(process.pid, "SIGTERM");
      if (step.refuse) throw new Error("the log is full");
    },
  };
}

// The bridge is the only child of this process.
function killBridge() {
  const children = fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
  for (const pid of children) if (pid) process.kill(Number(pid), "SIGKILL");
}

// `change`: JavaScript that changes the context, for what JSON cannot express.
function changed(step, ctx) {
  if (step.change) new Function("ctx", step.change)(ctx);
  return ctx;
}

const LOST = { status: "failed", errorCode: "adapter_failed" }; // the host failed to store the result
const endOf = ({ errorMessage, errorCode }) => ({ status: errorMessage ? "failed" : "succeeded", errorCode: errorCode ?? null });

async function execute(step) {
  active += 1;
  const { runId } = step.ctx;
  store(runId, { status: "running" });
  try {
    const result = await adapter.execute(changed(step, aContext(step)));
    setTimeout(() => store(runId, step.loses ? LOST : endOf(result)), step.storesAfterMs ?? 20);
    if (step.losesLeaseAfterwards) callbacks[step.name].stop.abort(new Error("Legacy controller lease lost"));
    return result;
  } finally {
    active -= 1;
  }
}

async function run(step) {
  if (step.method === "execute") return execute(step);
  if (step.method === "sigterm") { process.kill(process.pid, "SIGTERM"); return sleep(50); }
  if (step.change) return adapter[step.method](changed(step, { ...step.ctx }));
  if (step.method === "codec") return step.values.map((value) => ({
    deserialize: adapter.sessionCodec.deserialize(value),
    serialize: adapter.sessionCodec.serialize(value),
    getDisplayId: adapter.sessionCodec.getDisplayId(value),
  }));
  if (step.method === "sleep") return sleep(step.ms);
  if (step.method === "member") return adapter[step.member] ?? null;
  return adapter[step.method](...(step.args ?? []));
}

const results = {};
for (const step of steps) {
  const group = Array.isArray(step) ? step : [step]; // an inner list runs concurrently
  await Promise.all(group.map(async (member) => {
    const result = run(member).then((value) => value, (error) => ({ thrown: String(error) }));
    if (!member.background) results[member.name] = await result;
  }));
}
// If a step sends SIGTERM, its handler may run only now.
for (let waited = 0; !signals.length && steps.flat().some((step) => step.sigtermAt) && waited < 10_000; waited += 50) await sleep(50);
fs.writeSync(1, JSON.stringify({ results, callbacks, signals, listeners: process.listenerCount("SIGTERM") }));
// Without background steps there is no process.exit: a test also checks that the package does not keep the process alive.
if (steps.flat().some((step) => step.background)) process.exit(0);
