import type { RegistryResponse } from "./send-once.ts";

/** No message or document that a registry sends is longer. */
const MAX_TEXT_BYTES = 1024 * 1024;

/** Reads a response's body as text, at most 1 MiB of it. */
export async function readText({ body }: Pick<RegistryResponse, "body">): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let readBytes = 0;
  for await (const piece of body ?? []) {
    text += decoder.decode(piece, { stream: true });
    readBytes += piece.length;
    // Leaving the loop cancels the body.
    if (readBytes >= MAX_TEXT_BYTES) break;
  }
  return text;
}

/**
 * Reads a body to its end, so that its connection serves the next request; a connection with more than 1 MiB left is
 * closed. Does nothing to a body that was read, or that somebody is reading.
 */
export async function drain(response: Pick<RegistryResponse, "body">): Promise<void> {
  if (response.body?.locked === false) await readText(response);
}
