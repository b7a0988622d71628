// A proxy whose event streams break off, as networks do.
import { createServer, request } from "node:http";

/** Serve `target` on a free port; the first event stream is cut after `limit` bytes. `await using` closes it. */
export async function cutting(target, limit) {
  const proxy = { cuts: 0, url: "" };
  const server = createServer((incoming, outgoing) => {
    const { method, headers } = incoming;
    const onward = request(new URL(incoming.url, target), { method, headers }, (answer) => {
      const isStream = answer.headers["content-type"]?.startsWith("text/event-stream");
      outgoing.writeHead(answer.statusCode, answer.headers);
      let left = isStream && !proxy.cuts ? limit : Infinity;
      answer.on("data", (bytes) => {
        if (bytes.length < left) {
          left -= bytes.length;
          outgoing.write(bytes);
        } else if (left > 0) {
          outgoing.write(bytes.subarray(0, left), () => outgoing.destroy());
          left = 0;
          proxy.cuts += 1;
          onward.destroy();
        }
      });
      answer.on("end", () => outgoing.end());
      answer.on("error", () => {});
    });
    onward.on("error", () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  proxy.url = `http://127.0.0.1:${server.address().port}`;
  proxy[Symbol.asyncDispose] = () => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  };
  return proxy;
}
