// Runs an adapter's UI parser in a worker, as the server's page does, and returns {shipped, repaired}. `shipped` is the result of
// the page's own worker script. For `repaired` its assignments to properties that have only a getter are removed. Both results are
// a list with the kinds of the entries that the parser returned, or an error message.
async (type, lines) => {
  const textOfWorkerScript = "Parser module exports no usable parseStdoutLine";
  const source = await (await fetch(`/api/adapters/${type}/ui-parser.js`)).text();

  async function workerScript() {
    const scripts = performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.endsWith(".js"));
    for (const name of scripts) {
      const bundle = await (await fetch(name)).text();
      const at = bundle.indexOf(textOfWorkerScript);
      if (at < 0) continue;
      const isUnescaped = (tick) => bundle[tick - 1] !== "\\";
      let start = bundle.lastIndexOf("`", at);
      while (!isUnescaped(start)) start = bundle.lastIndexOf("`", start - 1);
      let end = bundle.indexOf("`", at);
      while (!isUnescaped(end)) end = bundle.indexOf("`", end + 1);
      return new Function(`return ${bundle.slice(start, end + 1)}`)();
    }
    throw new Error("the page has no parser worker");
  }

  function kindsOfEntries(script) {
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "application/javascript" })));
    const kinds = new Set();
    let unparsed = lines.length;
    return new Promise((resolve) => {
      worker.onerror = (event) => resolve(String(event.message));
      worker.onmessage = ({ data }) => {
        if (data.type === "error") resolve(data.message);
        if (data.type === "ready") lines.forEach((line, id) => worker.postMessage({ type: "parse", id, line, ts: "2026-11-21T00:00:00.000Z" }));
        if (data.type !== "result") return;
        data.entries.forEach((entry) => kinds.add(entry.kind));
        unparsed -= 1;
        if (unparsed === 0) resolve([...kinds]);
      };
      worker.postMessage({ type: "init", source });
    }).finally(() => worker.terminate());
  }

  const script = await workerScript();
  return { shipped: await kindsOfEntries(script), repaired: await kindsOfEntries(script.replace(/^self\.(indexedDB|caches) = .*$/gm, "")) };
}
