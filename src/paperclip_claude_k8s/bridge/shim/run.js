// One run: sends the Paperclip server's context to Python as JSON and calls the server's callbacks. A failure of the
// bridge becomes a result that says whether the agent may have started. It is not thrown, because after an exception the
// server does not retry. A Python process that ends during a run is replaced; the new one adopts the run's Job.

const CALLBACKS = ["onMeta", "onRuntimeProgress", "onDispatch", "onCancellationReady"];
const ONCE = ["onMeta", "onDispatch", "onCancellationReady"]; // called once per run, although a new Python process repeats the call
const DATA = ["runId", "agent", "runtime", "config", "context", "authToken", "executionTarget", "runtimeTools"];
const CONTINUE = "continue_conversation_v1"; // lets the server continue the run; accepted from any adapter
const RESTARTS = 5; // of Python in one run
const FIRST_PAUSE_MS = 1_000; // before a restart; each pause is twice as long as the one before
const STORE_MS = 60_000; // the server's own time limit for storing a result
// The server has stored the result if the run has one of these statuses, or the error code of the result.
const STORED = ["succeeded", "cancelled", "timed_out", "unknown"];
const OWN_LINE = "[paperclip] "; // the beginning of the adapter's own lines
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g; // replaced in own lines, because an agent can print a line that looks like one
const LOG_CHUNK_BYTES = 7 * 1024; // the server's live pages get the last 8 Ki characters of a chunk, after it has masked secrets

export async function executeBy(parts, ctx) {
  const { bridge, serverStopped, watchRun, whileServerRuns } = parts;
  // ended: the server has a result or an error; stored: a promise of how the server stored the end of the run
  const run = { dispatched: false, ended: false, detach: new AbortController(), deliver: () => {}, stored: null };
  let marksContinuation = true;
  let release = () => {};
  try {
    run.watch = watchRun(ctx.runId);
    marksContinuation = ctx.config?.continuationMarker !== false;
    const delivered = new Promise((resolve) => { run.deliver = resolve; });
    const stopped = new Promise((_, reject) => {
      release = whileServerRuns((signal) => reject(serverStopped(signal)));
    });
    return await Promise.race([attempts(parts, ctx, run), delivered, stopped]);
  } catch (error) {
    return failure(bridge.errorOf(error), run.dispatched, marksContinuation);
  } finally {
    run.ended = true;
    if (!run.stored) run.detach.abort(); // if there is a result, Python deletes the Job as soon as it is stored
    run.stored ??= run.watch?.end(STORE_MS);
    Promise.resolve(run.stored).then(() => {
      run.watch?.stop();
      release();
    });
  }
}

/** Gives the server the run's result. Resolves when it is stored, so that the Job can be deleted; rejects if it is lost. */
async function deliver(run, result) {
  if (run.ended) throw new Error("the run has already ended for the server");
  run.stored = run.watch.end(STORE_MS);
  run.deliver(result);
  const end = await run.stored;
  if (!end || !(STORED.includes(end.status) || end.errorCode === result.errorCode))
    throw new Error(`the server has not stored the result, but: ${end ? `${end.status} ${end.errorCode}` : "nothing"}`);
}

/** The result of the run from the first Python process that lives until the run's end. */
async function attempts(parts, ctx, run) {
  const { bridge, hostTexts, logFormat, isLeaseLost } = parts;
  const log = new Output(ctx.onLog);
  const onResult = (result) => deliver(run, result);
  const callbacks = { ...callbacksOf(ctx, run, log), onResult };
  const params = { ctx: await asData(ctx, hostTexts, logFormat) };
  for (let restarts = 0; !run.ended; restarts += 1) {
    try {
      return await bridge.call("execute", params, {
        callbacks, signal: ctx.signal, isOver: () => Boolean(run.stored), detach: run.detach.signal,
      });
    } catch (thrown) {
      const error = bridge.errorOf(thrown);
      if (run.ended || !error.retryable || restarts >= RESTARTS || isLeaseLost(ctx.signal)) throw error;
      await log.warn(`${storable(error.message)} — starting it again`);
      await new Promise((resolve) => { setTimeout(resolve, FIRST_PAUSE_MS * 2 ** restarts); });
      log.skipRepeatedLines();
    }
  }
}

/** The server's callbacks, not called any more after the run's end, while Python may still detach from the Job. */
function callbacksOf(ctx, run, log) {
  const called = new Set();
  const callback = (name) => (...args) => {
    if (run.ended || (ONCE.includes(name) && called.has(name))) return undefined;
    called.add(name);
    if (name === "onDispatch") run.dispatched = true;
    return ctx[name]?.(...args);
  };
  const callbacks = Object.fromEntries(CALLBACKS.map((name) => [name, callback(name)]));
  return { ...callbacks, onLog: (stream, chunk) => (run.ended ? log.late(stream, chunk) : log.write(stream, chunk)) };
}

/**
 * The run's log. A Python process that adopts the Job delivers the agent's stdout from its beginning; the lines that the
 * server has are left out.
 */
class Output {
  #onLog;
  #lines = 0; // lines of the agent that the server has received
  #repeated = 0; // lines that are still to be left out
  #inLine = false; // whether the last chunk ended within a line of the agent

  constructor(onLog) {
    this.#onLog = onLog;
  }

  skipRepeatedLines() {
    this.#repeated = this.#lines;
    this.#inLine = false;
  }

  async warn(text) {
    try {
      await this.#onLog("stderr", `${OWN_LINE}${text}\n`);
    } catch {
      // a log that the server cannot write must not end the run
    }
  }

  /** Prints a warning about the clean-up to the console, because the server has closed the run's log. */
  late(stream, chunk) {
    if (stream === "stderr" && chunk.startsWith(OWN_LINE)) console.warn(chunk.split("\n", 1)[0].replace(CONTROLS, "\ufffd"));
  }

  write(stream, chunk) {
    const text = stream === "stdout" ? this.#withoutRepeatedLines(chunk) : chunk;
    return text ? this.#onLog(stream, text) : undefined;
  }

  #withoutRepeatedLines(chunk) {
    let keptFrom = this.#repeated ? chunk.length : 0; // where the part begins that the server does not have
    let own = ""; // lines of the adapter before that part
    for (let start = 0; start < chunk.length;) {
      const end = chunk.indexOf("\n", start) + 1 || chunk.length;
      const isOwn = !this.#inLine && chunk.startsWith(OWN_LINE, start);
      this.#inLine = chunk[end - 1] !== "\n";
      if (isOwn && this.#repeated) own += chunk.slice(start, end);
      else if (!isOwn && !this.#inLine) {
        if (!this.#repeated) this.#lines += 1;
        else if (!(this.#repeated -= 1)) keptFrom = end;
      }
      start = end;
    }
    return own + chunk.slice(keptFrom);
  }
}

async function asData(ctx, hostTexts, logFormat) {
  const data = Object.fromEntries(DATA.filter((key) => ctx[key] !== undefined).map((key) => [key, ctx[key]]));
  data.context = { ...ctx.context, paperclipHostTexts: await hostTexts(ctx.context ?? {}) };
  data.logFormat = (await logFormat()).format;
  data.logChunkBytes = LOG_CHUNK_BYTES;
  data.runtimeMcp = { servers: ctx.runtimeMcp?.getServers?.() ?? [] };
  return data;
}

function failure(error, dispatched, marksContinuation) {
  const message = storable(error.message);
  const result = { exitCode: null, signal: null, timedOut: false, errorCode: error.code, errorMessage: message, resultJson: {} };
  if (error.retryable) result.errorFamily = "transient_upstream";
  if (!dispatched) {
    result.executionRecovery = { kind: "bootstrap", providerWorkStarted: false };
    return result;
  }
  if (error.retryable) result.errorMessage += " — the Job continues in the cluster; the next run of this task adopts it";
  if (marksContinuation) result.resultJson.conversationContinuation = CONTINUE;
  return result;
}

/** The text without characters that the server's database refuses: lone surrogates, which cutting leaves, and NUL. */
const storable = (text) => text.toWellFormed().replaceAll("\0", "\ufffd");
