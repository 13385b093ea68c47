// The events by which the parts of the Paperclip server's process tell each other what has happened.
import { EventEmitter } from "node:events";

const emitter = new EventEmitter();

export const publishLiveEvent = (event) => emitter.emit("event", event);

export function subscribeAllCompanyLiveEvents(listener) {
  emitter.on("event", listener);
  return () => emitter.off("event", listener);
}
