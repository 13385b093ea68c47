// What the Paperclip server has stored about the end of a run. When the status of a run has changed in its database,
// the server emits an event in its own process. Asking its API instead could end the run: for a request with the run's
// token the server locks the rows of the run and its task, in another order than when it stores a result (a deadlock).
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const EVENT = "heartbeat.run.status";
const ENDED = ["succeeded", "failed", "cancelled", "timed_out", "interrupted"];
const BLIND_MS = 2_000; // waited for a server without these events; it stores results within a second
const UNKNOWN = { status: "unknown", errorCode: null }; // reported for such a server

const subscribe = await loadSubscribe();
/** The listeners of the runs that are active, by run id. */
const watched = new Map();
let unsubscribe = null;

/**
 * Observes a run until `stop()`. `end(limitMs)` resolves to `{status, errorCode}`, or to null after the limit. With a server
 * that has no such events it resolves to `UNKNOWN` after `BLIND_MS`.
 */
export function watchRun(runId) {
  let stored = null; // how the run ended
  let onEnd = () => {};
  if (subscribe) {
    watched.set(runId, (end) => { stored = end; onEnd(end); });
    unsubscribe ??= subscribe(onEvent);
  }
  return {
    end: (limitMs) => new Promise((resolve) => {
      onEnd = resolve;
      if (stored) resolve(stored);
      else setTimeout(resolve, subscribe ? limitMs : BLIND_MS, subscribe ? null : UNKNOWN).unref();
    }),
    stop() {
      watched.delete(runId);
      if (watched.size) return;
      unsubscribe?.();
      unsubscribe = null;
    },
  };
}

function onEvent({ type, payload }) {
  if (type === EVENT && ENDED.includes(payload?.status))
    watched.get(payload.runId)?.({ status: payload.status, errorCode: payload.errorCode ?? null });
}

// Loads the server's own instance of its module, not a second one: Node identifies modules by their real paths.
async function loadSubscribe() {
  try {
    const from = createRequire(pathToFileURL(fs.realpathSync(process.argv[1])));
    const inServer = path.join("@paperclipai", "server", "dist", "services", "live-events.js");
    const files = from.resolve.paths("@paperclipai/server").map((folder) => path.join(folder, inServer));
    const file = fs.realpathSync(files.find((candidate) => fs.existsSync(candidate)));
    return (await import(pathToFileURL(file).href)).subscribeAllCompanyLiveEvents ?? null;
  } catch {
    return null;
  }
}
