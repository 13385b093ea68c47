// Whether the Paperclip server's web page can show the events of Claude Code with the parser of this package. The page
// runs parsers in a worker, whose script is part of the page's bundle. In all servers known so far, an error ends that
// script before it starts any parser.
import fs from "node:fs/promises";
import * as nodeModule from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const TEXT_IN_WORKER = "Parser module exports no usable parseStdoutLine";
// The script is in strict mode, where the assignment to a property that has only a getter is an error.
const FATAL = /\bself\.(indexedDB|caches) = /;
const SCRIPT_CHARS = 8_000; // searched before that text: the script begins within them
const ISSUE = "https://github.com/paperclipai/paperclip/pull/8806";

let result; // the promise of the only examination

/** Resolves to `{format, why}`: format "events", or "text" and the reason. Never rejects. */
export function logFormat() {
  return (result ??= examine(process.argv[1]));
}

export async function examine(program) {
  try {
    const worker = await workerScript(await assetsOf(program));
    if (worker && !FATAL.test(worker)) return { format: "events" };
    if (worker) return { format: "text", why: `this server's page cannot start parsers of external adapters (${ISSUE})` };
  } catch {
    // the page is not part of this server's installation
  }
  return { format: "text", why: "it is not known whether the server's page can start parsers of external adapters" };
}

async function assetsOf(program) {
  const entry = pathToFileURL(await fs.realpath(program));
  return path.join(path.dirname(nodeModule.findPackageJSON("@paperclipai/server", entry)), "ui-dist", "assets");
}

/** The script up to the text that it reports if a parser exports nothing: all of its assignments stand before that text. */
async function workerScript(assets) {
  for (const name of await fs.readdir(assets)) {
    if (!name.endsWith(".js")) continue;
    const bundle = await fs.readFile(path.join(assets, name), "utf8");
    const end = bundle.indexOf(TEXT_IN_WORKER);
    if (end >= 0) return bundle.slice(Math.max(0, end - SCRIPT_CHARS), end);
  }
  return null;
}
