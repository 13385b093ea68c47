// The Paperclip server's prompt texts, rendered by the server's helper package, so that agents get the same texts as with
// other adapters. If that package is not found, Python uses its built-in texts.
import fs from "node:fs";
import * as nodeModule from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

let loaded;

/** Texts under the names that Python's `assemble_prompt` reads; undefined if the package is not found. */
export async function hostTexts(context) {
  const helpers = await (loaded ??= loadHelpers());
  if (!helpers) return undefined;
  try {
    return render(helpers, context);
  } catch (error) {
    console.warn(`[claude_k8s] the server's prompt texts cannot be used: ${error?.message}`);
    return undefined;
  }
}

function render(helpers, context) {
  const task = (resumedSession) => helpers.selectPaperclipTaskMarkdown(context, { resumedSession });
  const wake = (resumedSession) =>
    helpers.renderPaperclipWakePrompt(context.paperclipWake, {
      resumedSession,
      conversationMode: context.conversationMode === true,
      suppressIssueDescription: task(resumedSession).length > 0,
    });
  const freshAndResumed = (text) => ({ fresh: text(false), resumed: text(true) });
  return {
    taskMarkdown: freshAndResumed(task),
    wakePrompt: freshAndResumed(wake),
    promptTemplate: helpers.DEFAULT_PAPERCLIP_AGENT_PROMPT_TEMPLATE,
    conversationTemplate: helpers.DEFAULT_PAPERCLIP_CONVERSATION_PROMPT_TEMPLATE,
  };
}

// If this adapter was installed from a local folder, it cannot import the server's packages by name; the path of the
// server's entry file leads to them.
async function loadHelpers() {
  try {
    const entry = pathToFileURL(fs.realpathSync(process.argv[1]));
    const manifest = nodeModule.findPackageJSON("@paperclipai/adapter-utils", entry);
    return await import(pathToFileURL(path.join(path.dirname(manifest), "dist", "server-utils.js")).href);
  } catch {
    return null;
  }
}
