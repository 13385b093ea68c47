// The stop of the Paperclip server by SIGTERM or SIGINT while runs are active. The server would mark the runs as
// interrupted. For an adapter that is not part of the server, this puts a hold on the run's task that only a person can
// lift. Therefore the server's handlers of these signals are delayed, for a few seconds at most, until each run has ended
// with a result after which the server starts the next run of the task, and that run adopts the Job. They are also
// delayed while the server is storing the result of a run.
const SIGNALS = ["SIGTERM", "SIGINT"];
const MAX_DELAY_MS = 8_000; // the longest delay of the server's own handlers
const QUIET_MS = 1_000; // between the end of the last run and the server's handlers: a next run may begin
const TAKE_OVER_MS = 1_000; // between two searches for handlers that the server has added while runs are active
// All versions of this module share one ServerStop under this key: the server reloads an adapter by importing it again.
const KEY = Symbol.for("paperclip-adapter-claude-k8s.stop");

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms).unref(); });

/**
 * Calls `onStop(signal)` if the server is stopped, at once if that has already happened. Returns a function that is to be
 * called as soon as the server has stored how the run ended.
 */
export function whileServerRuns(onStop) {
  return (globalThis[KEY] ??= new ServerStop()).add({ onStop });
}

class ServerStop {
  #runs = new Set();
  /** Handlers of the server by signal, while this class has taken their place. */
  #handlers = new Map();
  #ours = new Map(SIGNALS.map((name) => [name, () => this.#stop(name)]));
  #timer = null;
  #stopping = null;
  #onEmpty = () => {};

  add(run) {
    this.#runs.add(run);
    if (this.#stopping) run.onStop(this.#stopping);
    else this.#takeOver();
    return () => {
      this.#runs.delete(run);
      if (this.#runs.size) return;
      this.#onEmpty();
      if (!this.#stopping) this.#giveBack();
    };
  }

  // An emitter calls all listeners that it has when an event begins, so the server's must be removed before the signal.
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

  /** Resolves when the server has stored how each run ended, and has started no further run for `QUIET_MS`. */
  async #allStored() {
    do {
      if (this.#runs.size) await new Promise((resolve) => { this.#onEmpty = resolve; });
      await sleep(QUIET_MS);
    } while (this.#runs.size);
  }

  async #stop(name) {
    if (!this.#stopping) {
      this.#stopping = name;
      for (const { onStop } of this.#runs) onStop(name);
      await Promise.race([this.#allStored(), sleep(MAX_DELAY_MS)]);
    }
    const isHandled = this.#handlers.get(name)?.length;
    if (this.#timer) this.#giveBack();
    if (isHandled) process.emit(name, name);
    else process.kill(process.pid, name); // the default action, which our listener prevented
  }
}
