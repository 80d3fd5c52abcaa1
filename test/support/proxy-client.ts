import { connect } from "node:net";
import { digestOf } from "../../src/oci/digest.ts";
import { imageManifest } from "../../src/oci/manifest.ts";
import type { TestProxy } from "./proxy.ts";
import { blobOf } from "./registry-client.ts";

// Uploads to a proxy, in the forms that clients send them.

/** A body whose length nobody says. Bun says that of a Blob's stream. */
export function chunked(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (let start = 0; start < bytes.length; start += 65_536)
        controller.enqueue(bytes.subarray(start, start + 65_536));
      controller.close();
    },
  });
}

/** POST: begins an upload. @returns its address */
export async function begin(proxy: TestProxy, name = "team/app"): Promise<string> {
  const response = await proxy.request(`/v2/${name}/blobs/uploads/`, { method: "POST" });
  if (response.status !== 202) throw new Error(`POST answered ${response.status}`);
  return response.headers.get("location") ?? "";
}

/** PATCH: adds bytes without saying how many, as Docker does. */
export function patch(
  proxy: TestProxy,
  place: string,
  bytes: Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return proxy.request(place, { method: "PATCH", body: chunked(bytes), headers });
}

/** PUT: closes an upload, with bytes whose number is said. */
export function close(
  proxy: TestProxy,
  place: string,
  digest: string,
  bytes?: Uint8Array<ArrayBuffer>,
): Promise<Response> {
  return proxy.request(`${place}?digest=${digest}`, { method: "PUT", body: bytes ?? null });
}

/** Pushes a blob as Docker does. */
export async function pushBlob(
  proxy: TestProxy,
  bytes: Uint8Array<ArrayBuffer>,
  name?: string,
): Promise<Response> {
  const place = await begin(proxy, name);
  const patched = await patch(proxy, place, bytes);
  return patched.status === 202 ? close(proxy, place, digestOf(bytes)) : patched;
}

/** Pushes a blob as containerd does: in one PUT. */
export async function putBlob(
  proxy: TestProxy,
  bytes: Uint8Array<ArrayBuffer>,
  name?: string,
): Promise<Response> {
  return close(proxy, await begin(proxy, name), digestOf(bytes), bytes);
}

/** Returns the manifest of an image with these blobs, the config first. */
export function manifestOf(...blobs: Uint8Array<ArrayBuffer>[]) {
  const [config, ...layers] = blobs.map((bytes) => blobOf(bytes).descriptor);
  if (config === undefined) throw new Error("An image has a config.");
  return imageManifest(config, layers);
}

/** PUT: publishes a manifest. */
export function putManifest(
  proxy: TestProxy,
  { bytes, mediaType }: { readonly bytes: Uint8Array<ArrayBuffer>; readonly mediaType: string },
  { reference = "v1", userAgent = "crane", name = "team/app" } = {},
): Promise<Response> {
  return proxy.request(`/v2/${name}/manifests/${reference}`, {
    method: "PUT",
    body: bytes,
    headers: { "content-type": mediaType, "user-agent": userAgent },
  });
}

/** Reads the first error of a refusal. */
export async function refusalOf(
  response: Response,
): Promise<{ status: number; code: string; message: string }> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return { status: response.status, code: "", message: "", ...errors[0] };
}

/** A request that has sent a part of its body. */
export type OpenRequest = {
  send(bytes: Uint8Array): void;
  /** Ends a chunked body. */
  end(): void;
  /** The client vanishes. */
  cut(): void;
  /** Resolves with everything that came back, when the other side ends. */
  readonly reply: Promise<string>;
};

/** Begins a request whose body comes as the test says. @param length of the whole body. Undefined: chunked */
export function openRequest(proxy: TestProxy, method: string, path: string, length?: number): OpenRequest {
  const { hostname, port } = new URL(proxy.url);
  const socket = connect({ host: hostname, port: Number(port) });
  const { promise, resolve } = Promise.withResolvers<string>();
  let received = "";
  socket.on("data", (piece: Buffer) => {
    received += piece.toString("latin1");
  });
  socket.on("error", () => {});
  socket.on("close", () => resolve(received));
  const framing = length === undefined ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`;
  socket.write(
    `${method} ${path} HTTP/1.1\r\nHost: ${proxy.host}\r\nConnection: close\r\n${framing}\r\n\r\n`,
  );
  return {
    send(bytes) {
      if (length === undefined) socket.write(`${bytes.length.toString(16)}\r\n`);
      socket.write(bytes);
      if (length === undefined) socket.write("\r\n");
    },
    end: () => void socket.write("0\r\n\r\n"),
    cut: () => void socket.destroy(),
    reply: promise,
  };
}

/** Waits until something is so that no event tells of. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await Bun.sleep(1);
}
