// The version of the Paperclip server that loads this package.
import fs from "node:fs";
import * as nodeModule from "node:module";
import { pathToFileURL } from "node:url";

/** The version of the Paperclip server to which `program` belongs; undefined if it belongs to none. */
export function serverVersion(program = process.argv[1]) {
  try {
    const entry = pathToFileURL(fs.realpathSync(program));
    return JSON.parse(fs.readFileSync(nodeModule.findPackageJSON("@paperclipai/server", entry), "utf8")).version;
  } catch {
    return undefined;
  }
}

/** Whether one version, such as "2026.916.1", is lower than another. Of "2026.917.0-canary.3", only the numbers before "-" count. */
export function isOlder(version, other) {
  const numbers = (text) => text.split("-")[0].split(".").map(Number);
  const [ours, theirs] = [numbers(version), numbers(other)];
  const at = theirs.findIndex((number, index) => (ours[index] ?? 0) !== number);
  return at >= 0 && (ours[at] ?? 0) < theirs[at];
}
