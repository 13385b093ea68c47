// A stub of the module by which parts of the Paperclip server tell each other, within its process, what has happened.
import { EventEmitter } from "node:events";

const emitter = new EventEmitter();

export const publishLiveEvent = (event) => emitter.emit("event", event);

export function subscribeAllCompanyLiveEvents(listener) {
  emitter.on("event", listener);
  return () => emitter.off("event", listener);
}
