import { expect, test } from "bun:test";
import { PushError } from "../../src/errors.ts";
import { requestEvent } from "../../src/push/request-event.ts";

const facts = { method: "PATCH", bodyBytes: 5, durationMs: 7 } as const;

test("A request is shown without the values of its query, except those that are no secrets", () => {
  const url = new URL(
    "https://me:hush@r.example/v2/a/blobs/uploads/1?_state=eyJ&digest=sha256:ab&X-Amz-Signature=hush&account=me",
  );
  expect(requestEvent({ ...facts, url, status: 202 })).toEqual({
    type: "request",
    method: "PATCH",
    url: "https://r.example/v2/a/blobs/uploads/1?_state=…&digest=sha256:ab&X-Amz-Signature=…&account=…",
    status: 202,
    failure: undefined,
    durationMs: 7,
    bodyBytes: 5,
  });
});

test("A request that was not answered says why in a word or two", () => {
  const url = new URL("https://r.example/v2/");
  const error = new PushError("CONNECTION_LOST", "The connection broke.");
  expect(requestEvent({ ...facts, url, error })).toMatchObject({
    status: undefined,
    failure: "connection lost",
  });
});
