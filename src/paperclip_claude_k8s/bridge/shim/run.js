// One run: sends the server's context to Python as JSON and calls the server's callbacks. A failure of the bridge becomes
// a result that says whether the agent may have started. It is not thrown, because after an exception the server does
// not retry.

const CALLBACKS = ["onLog", "onMeta", "onRuntimeProgress", "onDispatch", "onCancellationReady"];
const DATA = ["runId", "agent", "runtime", "config", "context", "authToken", "executionTarget", "runtimeTools"];
const CONTINUE = "continue_conversation_v1"; // lets the server continue the run; accepted from any adapter

const LOG_CHUNK_BYTES = 7 * 1024; // the server's live pages get the last 8 Ki characters of a chunk, after it has masked secrets

export async function executeBy(bridge, { hostTexts, logFormat }, ctx) {
  let dispatched = false;
  let marksContinuation = true;
  try {
    const callbacks = Object.fromEntries(
      CALLBACKS.filter((name) => typeof ctx[name] === "function").map((name) => [name, (...args) => ctx[name](...args)]),
    );
    const onDispatch = callbacks.onDispatch;
    callbacks.onDispatch = () => { dispatched = true; return onDispatch?.(); };
    marksContinuation = ctx.config?.continuationMarker !== false;
    return await bridge.call("execute", { ctx: await asData(ctx, hostTexts, logFormat) }, { callbacks, signal: ctx.signal });
  } catch (error) {
    return failure(bridge.errorOf(error), dispatched, marksContinuation);
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
  const result = { exitCode: null, signal: null, timedOut: false, errorCode: error.code, errorMessage: error.message, resultJson: {} };
  if (error.retryable) result.errorFamily = "transient_upstream";
  if (!dispatched) {
    result.executionRecovery = { kind: "bootstrap", providerWorkStarted: false };
    return result;
  }
  if (error.retryable) result.errorMessage += " — the Job continues in the cluster; the next run of this task adopts it";
  if (marksContinuation) result.resultJson.conversationContinuation = CONTINUE;
  return result;
}
