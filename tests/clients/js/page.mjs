// A chat page on the stock `useStream`. A tab is one mount of it; closing and opening again is a reload.
import "./dom.mjs";
import { createElement as h, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const LIMIT_MS = 15_000;

/** Open the page; `options` go to `useStream`. `await using` closes it. */
export async function open(sdk, options) {
  const { useStream } = await import(`${sdk}/react`);
  const tab = new Tab();
  tab.root.render(h(Page, { tab, useStream, options }));
  await tab.until(() => tab.stream && !tab.stream.isThreadLoading);
  return tab;
}

class Tab {
  stream = null;
  threadId = null;
  answers = []; // every text the answer has had on the screen
  #element = document.body.appendChild(document.createElement("div"));
  root = createRoot(this.#element);
  #waiting = new Set();

  /** What stands in the element, or null when it is not there. */
  text(id) {
    return this.#element.querySelector(`#${id}`)?.textContent ?? null;
  }

  get messages() {
    return [...this.#element.querySelectorAll("li")].map((item) => item.textContent);
  }

  click(id) {
    this.#element.querySelector(`#${id}`).click();
  }

  /** Wait until the probe answers something true after a render; returns that. */
  until(probe) {
    const answer = probe();
    if (answer) return Promise.resolve(answer);
    const { promise, resolve, reject } = Promise.withResolvers();
    const seen = () => `page: ${this.#element.innerHTML}\nprobe: ${probe}`;
    const timer = setTimeout(() => reject(new Error(`the page never came to it\n${seen()}`)), LIMIT_MS);
    const look = () => {
      const found = probe();
      if (!found) return;
      clearTimeout(timer);
      this.#waiting.delete(look);
      resolve(found);
    };
    this.#waiting.add(look);
    return promise;
  }

  /** Wait until nothing runs any more and the page shows this many messages. */
  settled(count) {
    return this.until(() => this.text("status") === "idle" && this.messages.length === count);
  }

  rendered() {
    const answer = this.messages.findLast((text) => text.startsWith("ai: "));
    if (answer !== undefined && answer !== this.answers.at(-1)) this.answers.push(answer);
    for (const look of [...this.#waiting]) look();
  }

  close() {
    this.root.unmount();
    this.#element.remove();
  }

  [Symbol.dispose]() {
    this.close();
  }
}

function Page({ tab, useStream, options }) {
  const [threadId, setThreadId] = useState(options.threadId ?? null);
  const stream = useStream({ fetchStateHistory: true, ...options, threadId, onThreadId: setThreadId });
  Object.assign(tab, { stream, threadId, show: setThreadId });
  useEffect(() => tab.rendered());
  const { interrupt, error } = stream;
  const answer = () => stream.submit(undefined, { command: { resume: "yes" } });
  return h(
    "main",
    null,
    h("ol", null, ...stream.messages.map((message) => h("li", { key: message.id }, `${message.type}: ${message.content}`))),
    h("output", { id: "status" }, stream.isLoading ? "busy" : "idle"),
    interrupt && h("button", { id: "answer", onClick: answer }, interrupt.value?.question),
    stream.isLoading && h("button", { id: "stop", onClick: () => stream.stop() }, "Stop"),
    error && h("p", { id: "error" }, error.message ?? String(error)),
  );
}
