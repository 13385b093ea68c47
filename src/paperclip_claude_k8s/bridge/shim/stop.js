// The stop of the server by SIGTERM or SIGINT while runs are active. The server would mark them as interrupted, which for
// adapters that are not its own puts a hold on their tasks that only a person can lift. Therefore its handlers of these
// signals wait, for a few seconds at most, until each run has ended with a result after which the server starts the
// next run of the task, and that run adopts the Job.
import http from "node:http";

const SIGNALS = ["SIGTERM", "SIGINT"];
const RECORD_MS = 8_000; // the longest time by which the server's own handlers are delayed
const POLL_MS = 50; // between two questions whether the server has recorded a run's end
const TAKE_OVER_MS = 1_000; // between two searches for handlers that were added while runs are active
// One for all versions of this module: the server reloads an adapter by importing it again.
const KEY = Symbol.for("paperclip-adapter-claude-k8s.stop");

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms).unref(); });

/** Calls `onStop(signal)` if the server is stopped, at once if that has already happened. Returns a function that ends it. */
export function whileServerRuns(ctx, onStop) {
  return (globalThis[KEY] ??= new ServerStop()).add({ ctx, onStop });
}

class ServerStop {
  #runs = new Set();
  /** Handlers of the server by signal, while this class has taken their place. */
  #handlers = new Map();
  #ours = new Map(SIGNALS.map((name) => [name, () => this.#stop(name)]));
  #timer = null;
  #stopping = null;

  add(run) {
    this.#runs.add(run);
    if (this.#stopping) run.onStop(this.#stopping);
    else this.#takeOver();
    return () => {
      this.#runs.delete(run);
      if (!this.#runs.size && !this.#stopping) this.#giveBack();
    };
  }

  // An emitter calls all listeners that it has when an event begins, so the server's handlers have to be taken before.
  #takeOver() {
    for (const [name, ours] of this.#ours) {
      if (!process.rawListeners(name).includes(ours)) process.on(name, ours);
      const theirs = process.rawListeners(name).filter((listener) => listener !== ours);
      this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), ...theirs]);
      for (const listener of theirs) process.removeListener(name, listener);
    }
    this.#timer ??= setInterval(() => this.#takeOver(), TAKE_OVER_MS).unref();
  }

  #giveBack() {
    clearInterval(this.#timer);
    this.#timer = null;
    for (const [name, ours] of this.#ours) {
      for (const listener of this.#handlers.get(name) ?? []) process.on(name, listener);
      process.removeListener(name, ours);
    }
    this.#handlers.clear();
  }

  async #stop(name) {
    if (!this.#stopping) {
      this.#stopping = name;
      const runs = [...this.#runs];
      for (const { onStop } of runs) onStop(name);
      await Promise.race([Promise.allSettled(runs.map(({ ctx }) => recorded(ctx))), sleep(RECORD_MS)]);
    }
    const isHandled = this.#handlers.get(name)?.length;
    if (this.#timer) this.#giveBack();
    if (isHandled) process.emit(name, name);
    else process.kill(process.pid, name); // the default action, which our listener prevented
  }
}

/** Resolves when the server reports that the run has ended. The run's own token may read the run. */
async function recorded({ runId, authToken }) {
  const port = process.env.PAPERCLIP_LISTEN_PORT;
  if (!authToken || !port) return sleep(RECORD_MS / 4); // it cannot be asked
  const listens = process.env.PAPERCLIP_LISTEN_HOST;
  const host = !listens || ["0.0.0.0", "::"].includes(listens) ? "127.0.0.1" : listens;
  const request = { host, port, path: `/api/heartbeat-runs/${encodeURIComponent(runId)}`, agent: false,
    headers: { Authorization: `Bearer ${authToken}`, Connection: "close" } };
  while (await isRunning(request)) await sleep(POLL_MS);
}

const isRunning = (request) => new Promise((resolve) => {
  http.get(request, (response) => {
    const chunks = [];
    response.on("data", (chunk) => chunks.push(chunk));
    response.on("end", () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")).status === "running");
      } catch {
        resolve(true);
      }
    });
    response.on("error", () => resolve(true));
  }).on("error", () => resolve(true));
});
