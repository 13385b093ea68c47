// One Python process for all calls: started by the first, started anew after it ended, ended when idle.
import { spawn } from "node:child_process";

// The server's word when it could not renew its own lease on a run, which also happens while it shuts down. Nobody
// asked for the agent's end then.
const LEASE_LOST = /lease lost/i;
const STDERR_CHARS = 2_000; // the end of its stderr, for the message when it dies
// Of the server alone; agents are started by that process, and these would make them the server.
const SERVER_SECRETS = ["BETTER_AUTH_SECRET", "DATABASE_URL", "PAPERCLIP_AGENT_JWT_SECRET", "PAPERCLIP_SECRETS_MASTER_KEY"];

/** `code` is what the server stores for a run; `heals` whether trying again may help. */
export class BridgeError extends Error {
  constructor(message, { code, heals = false }) {
    super(message);
    this.code = code;
    this.heals = heals;
  }
}

export const unavailable = (message) => new BridgeError(message, { code: "adapter_engine_unavailable" });
export const lost = (message) => new BridgeError(message, { code: "k8s_bridge_lost", heals: true });

export class Bridge {
  #facts;
  #connection = null;
  /** `{version, python}` of the process that answered last. */
  peer = null;

  constructor(facts) {
    this.#facts = facts;
  }

  /** The method's answer. `callbacks` by name are awaited one after another; `signal` stops a run. */
  async call(method, params, { callbacks = {}, signal } = {}) {
    this.#connection ??= new Connection(this.#facts, (ended) => {
      if (this.#connection === ended) this.#connection = null;
    });
    const connection = this.#connection;
    const answer = await connection.call(method, params, callbacks, signal);
    this.peer = connection.peer;
    return answer;
  }
}

class Connection {
  #facts;
  #child;
  #calls = new Map();
  #lastId = 0;
  #stderr = "";
  #rest = [];
  #idle = null;
  #gone;
  #late;
  peer = null;

  constructor(facts, gone) {
    this.#facts = facts;
    this.#gone = gone;
    this.python = process.env.CLAUDE_K8S_PYTHON || facts.python;
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SERVER_SECRETS.includes(name)));
    env.PYTHONSAFEPATH = "1"; // what lies in the server's working directory is no module of ours
    this.#child = spawn(this.python, ["-m", "paperclip_claude_k8s.bridge"], { env, stdio: "pipe" });
    this.#child.on("error", (error) => this.#end(unavailable(this.#notStarted(error))));
    this.#child.on("close", (code, signal) => this.#end(this.#closed(code, signal)));
    this.#child.stdin.on("error", () => {}); // the process has ended: "close" says so
    this.#child.stdout.on("data", (chunk) => this.#read(chunk));
    this.#child.stderr.on("data", (chunk) => this.#hear(chunk));
    this.#send({ type: "hello", protocol: facts.protocol, version: facts.version });
    this.#late = setTimeout(() => {
      this.#end(unavailable(`the Python bridge did not answer within ${facts.helloMs / 1000} s. ${this.#said()}`));
      this.#child.kill("SIGKILL");
    }, facts.helloMs);
    this.#mindIdling();
  }

  call(method, params, callbacks, signal) {
    const id = ++this.#lastId;
    const stop = () => {
      const reason = String(signal.reason?.message ?? signal.reason ?? "");
      this.#send(LEASE_LOST.test(reason) ? { type: "leave", id } : { type: "cancel", id, reason });
    };
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, callbacks, chain: Promise.resolve() });
      this.#mindIdling();
      this.#send({ type: "call", id, method, params });
      if (signal?.aborted) stop();
      signal?.addEventListener?.("abort", stop);
    }).finally(() => {
      signal?.removeEventListener?.("abort", stop);
      this.#calls.delete(id);
      this.#mindIdling();
    });
  }

  #send(message) {
    if (this.#child.stdin.writable) this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  // Split at newlines and nothing else: node:readline also splits at U+2028, which JSON may hold.
  #read(chunk) {
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) >= 0; start = end + 1) {
      this.#rest.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.#rest).toString("utf8");
      this.#rest = [];
      this.#heed(line);
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
  }

  #heed(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      if (!this.peer) return; // somebody greets people when Python starts
      this.#end(lost("the Python bridge wrote something that is not its protocol"));
      this.#child.kill("SIGTERM");
      return;
    }
    const call = this.#calls.get(message.id);
    if (message.type === "hello") this.#greeted(message);
    else if (message.type === "callback" && call) call.chain = call.chain.then(() => this.#callBack(call, message));
    else if (message.type === "result") call?.resolve(message.value);
    else if (message.type === "error" && call) call.chain.then(() => call.reject(refusal(message))); // after its last line
    else if (message.type === "error") this.#fault(message);
  }

  #greeted({ protocol, version, python }) {
    if (protocol !== this.#facts.protocol) return; // it says why in its next line
    this.peer = { version, python };
    clearTimeout(this.#late);
  }

  #fault({ kind, message }) {
    if (kind === "version" || !this.peer) this.#end(unavailable(`Shim and Python package do not fit together: ${message}`));
    else console.error(`[${this.#facts.type}] bridge: ${message}`);
  }

  async #callBack(call, { id, n, name, args }) {
    try {
      await call.callbacks[name]?.(...args);
      this.#send({ type: "ack", id, n });
    } catch (error) {
      this.#send({ type: "ack", id, n, error: String(error?.message ?? error).slice(0, 300) });
    }
  }

  #hear(chunk) {
    const text = chunk.toString("utf8");
    this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS);
    for (const line of text.split("\n")) if (line.trim()) console.error(`[${this.#facts.type}] bridge: ${line}`);
  }

  #end(error) {
    this.#gone(this);
    clearTimeout(this.#late);
    clearTimeout(this.#idle);
    for (const call of this.#calls.values()) call.chain.then(() => call.reject(error));
  }

  // The server must be able to exit while nothing is under way; a run keeps it alive.
  #mindIdling() {
    const busy = this.#calls.size > 0;
    for (const one of [this.#child, this.#child.stdin, this.#child.stdout, this.#child.stderr]) busy ? one?.ref?.() : one?.unref?.();
    clearTimeout(this.#idle);
    this.#idle = null;
    if (!busy) this.#idle = setTimeout(() => { this.#gone(this); this.#child.stdin.end(); }, this.#facts.idleMs).unref();
  }

  #notStarted(error) {
    const how = error.code === "ENOENT" ? "it is not there" : error.code === "EACCES" ? "this user may not run it" : error.message;
    return `Python cannot be started: ${this.python}: ${how}. Set CLAUDE_K8S_PYTHON to a Python 3.11+ that has the `
      + "package paperclip-adapter-claude-k8s, in the server's environment";
  }

  #closed(code, signal) {
    const how = signal ? `by ${signal}` : `with exit code ${code}`;
    if (this.peer) return lost(`The Python bridge ended ${how}. ${this.#said()}`.trim());
    if (/No module named '?paperclip_claude_k8s(?!\.)/.test(this.#stderr))
      return unavailable(`The Python package is missing: ${this.python} has none. Install it: ${this.python} -m pip install `
        + `'paperclip-adapter-claude-k8s==${this.#facts.version}', or set CLAUDE_K8S_PYTHON to a Python that has it`);
    if (/No module named '?paperclip_claude_k8s\./.test(this.#stderr))
      return unavailable(`The Python package of ${this.python} is too old to have a bridge. Install version ${this.#facts.version}`);
    return unavailable(`The Python bridge ended ${how} before it was ready. ${this.#said()}`.trim());
  }

  #said() {
    const last = this.#stderr.trim().split("\n").slice(-3).join(" | ");
    return last && `It said: ${last}`;
  }
}

function refusal({ kind, message }) {
  if (kind === "shutdown") return lost(message);
  if (kind === "method") return unavailable(message);
  return new BridgeError(message, { code: "adapter_failed" });
}
