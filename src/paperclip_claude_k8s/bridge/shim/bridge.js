// One Python process for all calls: started by the first call, started again if it has ended, ended when idle.
import { spawn } from "node:child_process";
import fs from "node:fs";
import * as nodeModule from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

// Matches the abort signal's reason if the Paperclip server could not renew its own lease on a run, for example while
// it shuts down. Then the agent must not be stopped.
const LEASE_LOST = /lease lost/i;
const STDERR_CHARS = 2_000; // at the end of the stderr of Python, kept for the error message if Python exits
const REASON_CHARS = 300; // at the beginning of the text of an error
// Environment variables that are not passed to Python: with these secrets an agent could act as the server.
const SERVER_SECRETS = ["BETTER_AUTH_SECRET", "DATABASE_URL", "PAPERCLIP_AGENT_JWT_SECRET", "PAPERCLIP_SECRETS_MASTER_KEY"];

/** `code` is the error code of the run's result; `retryable` tells whether another attempt may succeed. */
export class BridgeError extends Error {
  constructor(message, { code, retryable = false }) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export const unavailable = (message) => new BridgeError(message, { code: "adapter_engine_unavailable" });
export const failed = (message) => new BridgeError(message, { code: "adapter_failed" });
export const lost = (message) => new BridgeError(message, { code: "k8s_bridge_lost", retryable: true });
export const serverStopped = (signal) =>
  new BridgeError(`The Paperclip server was stopped (${signal})`, { code: "k8s_server_stopped", retryable: true });

/** Whether the server gave up a run because it lost its lease on the run. The agent must not be stopped then. */
export const isLeaseLost = (signal) => Boolean(signal?.aborted) && LEASE_LOST.test(textOf(signal.reason));

/** The text of anything that was thrown or given as a reason. Never throws, whatever its getters do. */
function textOf(reason) {
  try {
    return String(reason?.message ?? reason ?? "").slice(0, REASON_CHARS);
  } catch {
    return "an error without a readable text";
  }
}

export class Bridge {
  #facts;
  #connection = null;
  /** `{version, python}` of the Python process that served the last call. */
  peer = null;

  constructor(facts) {
    this.#facts = facts;
  }

  /**
   * Resolves to the method's result. `callbacks`, by name, are awaited one after another. Two abort signals end a run:
   * `signal` stops its agent, unless `isOver()` is true; `detach` leaves the agent's Job to a later call.
   */
  async call(method, params, { callbacks = {}, signal, isOver = () => false, detach } = {}) {
    this.#connection ??= new Connection(this.#facts, (ended) => {
      if (this.#connection === ended) this.#connection = null;
    });
    const connection = this.#connection;
    const value = await connection.call(method, params, callbacks, { signal, isOver, detach });
    this.peer = connection.peer;
    return value;
  }

  /** Returns a BridgeError for anything that was thrown, for example by a getter of the server's context. */
  errorOf(thrown) {
    return thrown instanceof BridgeError ? thrown : failed(`The server's context cannot be read: ${textOf(thrown)}`);
  }
}

class Connection {
  #facts;
  #child;
  #calls = new Map();
  #lastId = 0;
  #stderr = "";
  #partialLine = [];
  #idleTimer = null;
  #onEnd;
  #startTimer;
  peer = null;

  constructor(facts, onEnd) {
    this.#facts = facts;
    this.#onEnd = onEnd;
    this.python = process.env.CLAUDE_K8S_PYTHON || facts.python;
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SERVER_SECRETS.includes(name)));
    env.CLAUDE_K8S_SERVER_SKILLS ??= serverSkills().join(":");
    env.PYTHONSAFEPATH = "1"; // do not import modules from the server's working directory
    this.#child = spawn(this.python, ["-m", "paperclip_claude_k8s.bridge"], { env, stdio: "pipe" });
    this.#child.on("error", (error) => this.#end(unavailable(this.#startFailure(error))));
    this.#child.on("close", (code, signal) => this.#end(this.#exitError(code, signal)));
    this.#child.stdin.on("error", () => {}); // the process has ended, which "close" handles
    this.#child.stdout.on("data", (chunk) => this.#read(chunk));
    this.#child.stderr.on("data", (chunk) => this.#readStderr(chunk));
    this.#send({ type: "hello", protocol: facts.protocol, version: facts.version });
    this.#startTimer = setTimeout(() => {
      this.#end(unavailable(`the Python bridge did not answer within ${facts.helloMs / 1000} s. ${this.#stderrTail()}`));
      this.#child.kill("SIGKILL");
    }, facts.helloMs);
    this.#updateIdleTimer();
  }

  call(method, params, callbacks, { signal, isOver, detach }) {
    const id = ++this.#lastId;
    // If a getter of the server's objects throws, it does so here, before Python gets the call.
    const line = this.#encode({ type: "call", id, method, params });
    const isStopped = Boolean(signal?.aborted);
    const leave = () => this.#send({ type: "leave", id });
    const stop = () => {
      if (isOver()) return;
      if (isLeaseLost(signal)) leave();
      else this.#send({ type: "cancel", id, reason: textOf(signal.reason) });
    };
    signal?.addEventListener?.("abort", stop);
    detach?.addEventListener("abort", leave);
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, callbacks, chain: Promise.resolve() });
      this.#updateIdleTimer();
      this.#write(line);
      if (isStopped) stop();
    }).finally(() => {
      signal?.removeEventListener?.("abort", stop);
      detach?.removeEventListener("abort", leave);
      this.#calls.delete(id);
      this.#updateIdleTimer();
    });
  }

  #send(message) {
    this.#write(`${JSON.stringify(message)}\n`);
  }

  #write(line) {
    if (this.#child.stdin.writable) this.#child.stdin.write(line);
  }

  // The id stands at the start of the line, so that Python can answer a call that it refuses to read.
  #encode(call) {
    let line;
    try {
      line = `${JSON.stringify(call)}\n`;
    } catch (error) {
      throw failed(`The server's context cannot be written as JSON: ${textOf(error)}`);
    }
    const bytes = Buffer.byteLength(line);
    if (bytes > this.#facts.maxLineBytes)
      throw failed(`The server's context has ${bytes} bytes as JSON; the bridge takes ${this.#facts.maxLineBytes}. Shorten the agent's configuration, prompt or task`);
    return line;
  }

  // Split at newlines and nothing else: node:readline also splits at U+2028, which JSON may hold.
  #read(chunk) {
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) >= 0; start = end + 1) {
      this.#partialLine.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.#partialLine).toString("utf8");
      this.#partialLine = [];
      this.#handle(line);
    }
    if (start < chunk.length) this.#partialLine.push(chunk.subarray(start));
  }

  #handle(line) {
    const message = parsed(line);
    if (!message) {
      if (!this.peer) return; // something else printed a line while Python was starting
      this.#abandon("the Python bridge wrote a line that is not part of its protocol");
      return;
    }
    const call = this.#calls.get(message.id);
    if (message.type === "hello") this.#onHello(message);
    else if (message.type === "callback" && call) call.chain = call.chain.then(() => this.#callBack(call, message));
    else if (message.type === "result") call?.resolve(message.value);
    else if (message.type === "error" && call) call.chain.then(() => call.reject(toError(message))); // after its last callback
    else if (message.type === "error") this.#onError(message);
  }

  #onHello({ protocol, version, python }) {
    if (protocol !== this.#facts.protocol) return; // the next line is an error that says why
    this.peer = { version, python };
    clearTimeout(this.#startTimer);
  }

  // An error that names no call may have been the response to any call, so all calls end.
  #onError({ kind, message }) {
    if (kind === "version" || !this.peer) this.#end(unavailable(`The shim and the Python package are incompatible: ${message}`));
    else this.#abandon(`the Python bridge did not understand the shim: ${message}`);
  }

  #abandon(reason) {
    this.#end(lost(reason));
    this.#child.kill("SIGTERM");
  }

  async #callBack(call, { id, n, name, args }) {
    try {
      await call.callbacks[name]?.(...args);
      this.#send({ type: "ack", id, n });
    } catch (error) {
      this.#send({ type: "ack", id, n, error: textOf(error) });
    }
  }

  #readStderr(chunk) {
    const text = chunk.toString("utf8");
    this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS);
    for (const line of text.split("\n")) if (line.trim()) console.error(`[${this.#facts.type}] bridge: ${line}`);
  }

  #end(error) {
    this.#onEnd(this);
    clearTimeout(this.#startTimer);
    clearTimeout(this.#idleTimer);
    for (const call of this.#calls.values()) call.chain.then(() => call.reject(error));
  }

  // Only a running call keeps the server's process alive; while there is none, the server must be able to exit.
  #updateIdleTimer() {
    const busy = this.#calls.size > 0;
    for (const handle of [this.#child, this.#child.stdin, this.#child.stdout, this.#child.stderr]) busy ? handle?.ref?.() : handle?.unref?.();
    clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    if (!busy) this.#idleTimer = setTimeout(() => { this.#onEnd(this); this.#child.stdin.end(); }, this.#facts.idleMs).unref();
  }

  #startFailure(error) {
    const how = error.code === "ENOENT" ? "no such file" : error.code === "EACCES" ? "permission denied" : error.message;
    return `Python cannot be started: ${this.python}: ${how}. Set CLAUDE_K8S_PYTHON to a Python 3.11+ that has the `
      + "package paperclip-adapter-claude-k8s, in the server's environment";
  }

  #exitError(code, signal) {
    const how = signal ? `by ${signal}` : `with exit code ${code}`;
    if (this.peer) return lost(`The Python bridge ended ${how}. ${this.#stderrTail()}`.trim());
    if (/No module named '?paperclip_claude_k8s(?!\.)/.test(this.#stderr))
      return unavailable(`The Python package is missing from ${this.python}. Install it: ${this.python} -m pip install `
        + `'paperclip-adapter-claude-k8s==${this.#facts.version}', or set CLAUDE_K8S_PYTHON to a Python that has it`);
    if (/No module named '?paperclip_claude_k8s\./.test(this.#stderr))
      return unavailable(`The Python package of ${this.python} is too old to have a bridge. Install version ${this.#facts.version}`);
    return unavailable(`The Python bridge ended ${how} before it was ready. ${this.#stderrTail()}`.trim());
  }

  #stderrTail() {
    const last = this.#stderr.trim().split("\n").slice(-3).join(" | ");
    return last && `Its last output: ${last}`;
  }
}

function toError({ kind, message }) {
  if (kind === "shutdown") return lost(message);
  if (kind === "method") return unavailable(message);
  if (kind === "protocol") return failed(`The server's context cannot be read by Python: ${message}. Simplify the agent's configuration or task`);
  return failed(message);
}

/** Returns the object that a line holds, or null. */
function parsed(line) {
  try {
    const value = JSON.parse(line);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** Returns the folders of the server's own skills, from which Python may read; the server searches the same ones. */
function serverSkills() {
  const folders = [process.cwd()];
  try {
    const entry = pathToFileURL(fs.realpathSync(process.argv[1]));
    const folder = path.dirname(nodeModule.findPackageJSON("@paperclipai/server", entry));
    folders.push(folder, path.dirname(folder));
  } catch {
    // not started by the server's program: only its working directory is known
  }
  return folders.flatMap((folder) => [path.join(folder, "skills"), path.join(folder, "skills-releases")]);
}
