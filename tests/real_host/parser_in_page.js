// Runs a UI parser in a worker of this page, once with the worker script of the server's page as it is, and once without that
// script's assignments to properties that have only a getter. Returns {shipped, repaired}, each the kinds of entries or an error.
async (type, lines) => {
  const textInWorker = "Parser module exports no usable parseStdoutLine";
  const source = await (await fetch(`/api/adapters/${type}/ui-parser.js`)).text();

  async function workerScript() {
    const scripts = performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.endsWith(".js"));
    for (const name of scripts) {
      const bundle = await (await fetch(name)).text();
      const at = bundle.indexOf(textInWorker);
      if (at < 0) continue;
      const unescaped = (tick) => bundle[tick - 1] !== "\\";
      let start = bundle.lastIndexOf("`", at);
      while (!unescaped(start)) start = bundle.lastIndexOf("`", start - 1);
      let end = bundle.indexOf("`", at);
      while (!unescaped(end)) end = bundle.indexOf("`", end + 1);
      return new Function(`return ${bundle.slice(start, end + 1)}`)();
    }
    throw new Error("the page has no parser worker");
  }

  function kindsBy(script) {
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "application/javascript" })));
    const kinds = new Set();
    let left = lines.length;
    return new Promise((resolve) => {
      worker.onerror = (event) => resolve(String(event.message));
      worker.onmessage = ({ data }) => {
        if (data.type === "error") resolve(data.message);
        if (data.type === "ready") lines.forEach((line, id) => worker.postMessage({ type: "parse", id, line, ts: "2026-11-21T00:00:00.000Z" }));
        if (data.type !== "result") return;
        data.entries.forEach((entry) => kinds.add(entry.kind));
        left -= 1;
        if (left === 0) resolve([...kinds]);
      };
      worker.postMessage({ type: "init", source });
    }).finally(() => worker.terminate());
  }

  const script = await workerScript();
  return { shipped: await kindsBy(script), repaired: await kindsBy(script.replace(/^self\.(indexedDB|caches) = .*$/gm, "")) };
}
