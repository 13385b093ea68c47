// Runs a UI parser in the worker script of the server's UI, which is extracted from the UI's bundle.
// stdin: {assets, source, lines, ts}; stdout: {init, results}, the messages the worker posts.
const fs = require("node:fs");
const path = require("node:path");

const TEXT_IN_WORKER = "Parser module exports no usable parseStdoutLine";
const { assets, source, lines, ts } = JSON.parse(fs.readFileSync(0, "utf8"));

function workerScript() {
  for (const name of fs.readdirSync(assets)) {
    if (!name.endsWith(".js")) continue;
    const bundle = fs.readFileSync(path.join(assets, name), "utf8");
    const at = bundle.indexOf(TEXT_IN_WORKER);
    if (at < 0) continue;
    const unescaped = (tick) => bundle[tick - 1] !== "\\";
    let start = bundle.lastIndexOf("`", at);
    while (!unescaped(start)) start = bundle.lastIndexOf("`", start - 1);
    let end = bundle.indexOf("`", at);
    while (!unescaped(end)) end = bundle.indexOf("`", end + 1);
    return new Function(`return ${bundle.slice(start, end + 1)}`)();
  }
  throw new Error(`no parser worker in ${assets}: the server's UI has changed`);
}

const posted = [];
const self = { postMessage: (message) => posted.push(message) };
new Function("self", workerScript())(self);
self.onmessage({ data: { type: "init", source } });
lines.forEach((line, id) => self.onmessage({ data: { type: "parse", id, line, ts } }));
const [init, ...results] = posted;
process.stdout.write(JSON.stringify({ init, results }));
