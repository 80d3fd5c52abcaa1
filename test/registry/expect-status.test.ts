import { describe, expect, test } from "bun:test";
import { type ErrorCode, type PushError, RegistryError } from "../../src/errors.ts";
import { expectStatus } from "../../src/registry/http/expect-status.ts";
import { printable } from "../../src/registry/http/spec-errors.ts";
import { clientOf } from "../support/registry-client.ts";

const URL_ASKED = new URL("http://registry.example/v2/team/app/blobs/uploads/1?_stateHash=secret");

type Answered = { headers?: Record<string, string>; text?: string; body?: Blob; authorization?: string };

/** What is thrown for an answer, when 200 was wanted. */
async function refusal(
  status: number,
  { headers, text = "", body, authorization }: Answered = {},
): Promise<RegistryError> {
  const client = clientOf({ url: "http://registry.example" }, authorization ? { authorization } : {});
  const request = { method: "PATCH", url: URL_ASKED, ...(body && { body }) } as const;
  const response = { status, headers: new Headers(headers), url: URL_ASKED, bytes: new Uint8Array(), text };
  try {
    expectStatus(client, request, response, [200]);
  } catch (error) {
    if (error instanceof RegistryError) return error;
    throw error;
  }
  throw new Error(`A ${status} was let through.`);
}

function specError(message: string, code = "DENIED"): string {
  return JSON.stringify({ errors: [{ code, message, detail: { deep: "inside" } }] });
}

/** All that a user gets to see of an error. */
function shown({ message, hint }: PushError): string {
  return `${message}\n${hint ?? ""}`;
}

describe("expectStatus", () => {
  test("lets what is wanted pass", async () => {
    const request = { method: "GET", url: URL_ASKED } as const;
    const response = {
      status: 404,
      headers: new Headers(),
      url: URL_ASKED,
      bytes: new Uint8Array(),
      text: "",
    };
    expectStatus(clientOf({ url: "" }), request, response, [200, 404]);
  });

  test.each<[number, ErrorCode]>([
    [401, "UNAUTHORIZED"],
    [403, "DENIED"],
    [413, "REGISTRY_REFUSED"],
    [400, "REGISTRY_REFUSED"],
    [404, "REGISTRY_REFUSED"],
    [416, "REGISTRY_REFUSED"],
    [429, "RATE_LIMITED"],
    [204, "REGISTRY_UNSUPPORTED"],
    [500, "REGISTRY_FAILED"],
  ])("throws for a %d: %s, with what was asked and answered", async (status, code) => {
    const error = await refusal(status);
    expect(error.code).toBe(code);
    expect(error.message).toContain(
      `PATCH http://registry.example/v2/team/app/blobs/uploads/1 answered ${status}`,
    );
    // A query may be a signature.
    expect(shown(error)).not.toContain("secret");
  });

  test("gives callers the status, the codes and the headers of the answer", async () => {
    const text = '{"errors":[{"code":"A","message":"first"},{"code":"B"}]}';
    const { answer, message } = await refusal(400, { text, headers: { "retry-after": "3" } });
    expect(answer).toMatchObject({ status: 400, specCodes: ["A", "B"], url: URL_ASKED.href });
    expect(answer.headers.get("retry-after")).toBe("3");
    expect(message).toContain("A: first; B");
  });

  test("says what the registry says, without the detail", async () => {
    const error = await refusal(403, { text: specError("you shall not push") });
    expect(error.message).toContain("DENIED: you shall not push");
    expect(shown(error)).not.toContain("inside");
  });

  test.each([
    ['Basic realm="http://registry.example/v2/"', true],
    ['Basic realm="Registry Realm"', false],
    ['Basic realm="https://login.example/"', false],
    ["Basic", false],
  ])("tells after a 401 with %s about tokens of serverless-registry: %p", async (challenge, isTold) => {
    const headers = { "www-authenticate": challenge };
    const { hint } = await refusal(401, { headers, authorization: "Basic bWU6aHVzaA==" });
    expect(hint?.includes("REGISTRY_JWT_TOKEN") ?? false).toBe(isTold);
    expect(hint).toContain("Check the user name");
  });

  test("names the repository that may not be pushed to", async () => {
    expect((await refusal(403)).message).toContain('"team/app"');
  });

  test("says nothing of a 416, which dumps the upload's state", async () => {
    const error = await refusal(416, { text: specError("stateHash abc does not match", "RANGE_ERROR") });
    expect(shown(error)).not.toContain("stateHash abc");
    expect(error.answer.specCodes).toEqual(["RANGE_ERROR"]);
  });

  test("suggests a smaller chunk after a 413, and prints no page of a proxy", async () => {
    const text = "<html><head><title>413 Request Entity Too Large</title></head></html>";
    const error = await refusal(413, { text, body: new Blob([new Uint8Array(10_000_000)]) });
    expect(error.message).toContain("10.0 MB");
    expect(error.hint).toContain("--chunk-size 5MB");
    expect(shown(error)).not.toContain("html");
  });

  test.each([
    "<html>it broke</html>",
    "",
    "null",
    '{"errors":"none"}',
    '{"errors":[{"message":"no code"}]}',
    "{",
  ])("prints nothing of %j", async (text) => {
    const error = await refusal(500, { text });
    expect(error.message).toEndWith("answered 500.");
    expect(error.answer.specCodes).toEqual([]);
  });

  test.each([
    "\u001b[2J\u001b]0;owned\u0007all gone",
    "back\bspace\r and \n new line",
    "8 bit \u009b31m control",
    "right \u202e to left",
  ])("keeps a terminal safe from %j", async (message) => {
    const { message: text } = await refusal(400, { text: specError(message, `CODE${message}`) });
    expect(text).toMatch(/^[\x20-\x7e]*$/);
    expect(text).toContain("CODE");
  });

  test("keeps a long message short", async () => {
    const error = await refusal(400, { text: specError("x".repeat(100_000)) });
    expect(error.message.length).toBeLessThan(600);
  });

  test.each([
    ["Go", "Client sent an HTTP request to an HTTPS server.\n"],
    [
      "nginx",
      "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>\r\n</body>\r\n</html>\r\n",
    ],
  ])("understands how %s answers plain HTTP on a TLS port", async (_, text) => {
    const error = await refusal(400, { text });
    expect(error.code).toBe("TLS_REQUIRED");
    expect(error.hint).toContain("https://");
  });

  test("tells an absent password from a wrong one", async () => {
    expect((await refusal(401)).message).toContain("requires a login");
    const wrong = await refusal(401, { authorization: "Basic eDp5" });
    expect(wrong.message).toContain("does not accept");
    expect(shown(wrong)).not.toContain("eDp5");
  });

  test("blames no password where a fresh token was refused", async () => {
    const headers = {
      "www-authenticate": 'Bearer realm="https://auth.example/token",error="insufficient_scope"',
    };
    const error = await refusal(401, { headers, authorization: "Bearer token-Xq7" });
    expect(error.code).toBe("UNAUTHORIZED");
    expect(error.message).toContain('does not let this user push to "team/app"');
    expect(shown(error)).not.toContain("Xq7");
  });

  test("hides a secret whose beginning is another one", async () => {
    expect(printable("got abc-Xq7 and abc", ["abc", "abc-Xq7"])).toBe("got *** and ***");
  });

  test("shows nothing that proves who pushes", async () => {
    const text = specError("got token-Xq7, and token-Xq7-and-more");
    const error = await refusal(400, { text, authorization: "Bearer token-Xq7" });
    expect(error.message).toContain("got ***, and ***-and-more");
  });
});
