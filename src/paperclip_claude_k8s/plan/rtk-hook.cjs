// A PostToolUse hook of the Claude CLI that shortens the response of a tool before the model reads it.
// stdin: the hook's payload. stdout: the response with its texts cut, or nothing if it is short enough.
// argv[2]: maximum bytes of text in one response.
"use strict";

const limit = Number(process.argv[2]) || 50000;

// At most `bytes` bytes of a text in UTF-8, without splitting a character, and the number of bytes cut.
function head(text, bytes) {
  const whole = Buffer.from(text, "utf8");
  let end = Math.min(bytes, whole.length);
  while (end > 0 && end < whole.length && (whole[end] & 0xc0) === 0x80) end--;
  return { kept: whole.subarray(0, end).toString("utf8"), cut: whole.length - end };
}

// The same value with its texts cut to `budget.bytes` in total; images and other encoded data stay whole.
// `budget` is updated: `bytes` is what may still be kept, `cut` what was cut.
function shorten(value, budget) {
  if (typeof value === "string") {
    const { kept, cut } = head(value, budget.bytes);
    budget.bytes -= Buffer.byteLength(kept, "utf8");
    if (!cut) return value;
    budget.cut += cut;
    return `${kept}\n[${cut} bytes cut]`;
  }
  if (Array.isArray(value)) return value.map((item) => shorten(item, budget));
  if (value === null || typeof value !== "object") return value;
  if (value.type === "image" || value.type === "base64" || value.isImage === true) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shorten(item, budget)]));
}

function hookOutput(payload) {
  const budget = { bytes: limit, cut: 0 };
  const output = shorten(payload.tool_response, budget);
  if (!budget.cut) return null;
  const name = String(payload.tool_name || "").startsWith("mcp__") ? "updatedMCPToolOutput" : "updatedToolOutput";
  return { hookSpecificOutput: { hookEventName: "PostToolUse", [name]: output } };
}

const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", () => {
  try {
    const output = hookOutput(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    if (output) process.stdout.write(JSON.stringify(output));
  } catch (error) {
    process.stderr.write(`rtk hook: ${error.message}\n`); // the tool's output stays unchanged
  }
});
