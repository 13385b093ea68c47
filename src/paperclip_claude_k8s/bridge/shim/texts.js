// The server's own words for an agent: rendered by its helper package where that can be found, so that agents
// here are told what other agents are told. Where it cannot, Python has words of its own.
import fs from "node:fs";
import * as nodeModule from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

let found;

/** Texts under the names Python's `assemble_prompt` reads; undefined where the server gives none. */
export async function hostTexts(context) {
  const words = await (found ??= hostWords());
  if (!words) return undefined;
  try {
    return render(words, context);
  } catch (error) {
    console.warn(`[claude_k8s] the server's prompt texts cannot be used: ${error.message}`);
    return undefined;
  }
}

function render(words, context) {
  const task = (resumedSession) => words.selectPaperclipTaskMarkdown(context, { resumedSession });
  const wake = (resumedSession) =>
    words.renderPaperclipWakePrompt(context.paperclipWake, {
      resumedSession,
      conversationMode: context.conversationMode === true,
      suppressIssueDescription: task(resumedSession).length > 0,
    });
  const both = (text) => ({ fresh: text(false), resumed: text(true) });
  return {
    taskMarkdown: both(task),
    wakePrompt: both(wake),
    promptTemplate: words.DEFAULT_PAPERCLIP_AGENT_PROMPT_TEMPLATE,
    conversationTemplate: words.DEFAULT_PAPERCLIP_CONVERSATION_PROMPT_TEMPLATE,
  };
}

// A package from a local folder cannot import the server's packages by name; they are found from its entry file.
async function hostWords() {
  try {
    const entry = pathToFileURL(fs.realpathSync(process.argv[1]));
    const manifest = nodeModule.findPackageJSON("@paperclipai/adapter-utils", entry);
    return await import(pathToFileURL(path.join(path.dirname(manifest), "dist", "server-utils.js")).href);
  } catch {
    return null;
  }
}
