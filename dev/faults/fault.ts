import type { HttpHead } from "./http-head.ts";
import { type Link, type LinkOptions, sharedLink } from "./link.ts";

/** What may happen to a request on its way. */
export type Fault =
  | ResetFault
  | AnswerFault
  | RedirectFault
  | StallFault
  | ThrottleFault
  | LinkFault
  | PassFault;

type ResetFault = {
  readonly type: "reset";
  /** For tables and logs; so in every fault. */
  readonly name: string;
  readonly moment: Moment;
  /** Done at that moment, right before the connection breaks: a registry restarts, a client is killed. */
  readonly act?: () => Promise<void>;
};

/**
 * `before`: nothing of the request gets through. `middle`: half of its body does; where it has none, nothing.
 * `after`: all of it does, and the answer is lost.
 */
export type Moment = "before" | "middle" | "after";

/** An answer that is not the registry's, which never gets to know of the request. */
type AnswerFault = {
  readonly type: "answer";
  readonly name: string;
  readonly status: number;
  /** Made when it is sent, for a date has to lie ahead then. */
  readonly headers: (request: HttpHead) => Readonly<Record<string, string>>;
  readonly text: (request: HttpHead) => string;
  readonly body: BodyFate;
};

/**
 * What becomes of the body of a request that is answered without the registry. `read`: it is read first. `unread`:
 * the answer comes before, and the rest is thrown away. `cut`: the answer comes before, and a reset right behind it.
 */
export type BodyFate = "read" | "unread" | "cut";

/** To the proxy's other origin, where the same registry is. */
type RedirectFault = {
  readonly type: "redirect";
  readonly name: string;
  readonly status: 307 | 308;
  readonly body: Exclude<BodyFate, "cut">;
};

/** The request is taken in and never answered, until the client gives up. */
type StallFault = { readonly type: "stall"; readonly name: string };

/** A slow link, both ways. */
type ThrottleFault = { readonly type: "throttle"; readonly name: string; readonly bytesPerSecond: number };

/** A link that all requests share which meet this same fault. */
type LinkFault = { readonly type: "link"; readonly name: string; readonly link: Link };

/** The request passes, after something was done: all tokens end, say. */
type PassFault = { readonly type: "pass"; readonly name: string; readonly act: () => void };

const MOMENT_WORDS: Readonly<Record<Moment, string>> = {
  before: "before the request",
  middle: "in the body",
  after: "instead of the answer",
};

/** The connection breaks, with a cause of your own where there is one. */
export function reset(moment: Moment, cause?: { name: string; act: () => Promise<void> }): Fault {
  return {
    type: "reset",
    name: `${cause?.name ?? "reset"} ${MOMENT_WORDS[moment]}`,
    moment,
    ...(cause?.act && { act: cause.act }),
  };
}

/** A gateway's answer: a page, where a registry would send JSON. */
export function answer(
  status: number,
  body: BodyFate = "read",
  headers: AnswerFault["headers"] = () => ({}),
): AnswerFault {
  const name = body === "read" ? `${status}` : `${status}, body ${body}`;
  return { type: "answer", name, status, headers, text: () => `<html><h1>${status}</h1></html>\n`, body };
}

/** Asks to be left alone for a number of seconds, in one of the two forms that `Retry-After` has. */
export function tooMany(form: "seconds" | "date", seconds: number): Fault {
  const retryAfter = () =>
    form === "seconds" ? `${seconds}` : new Date(Date.now() + seconds * 1000).toUTCString();
  return { ...answer(429, "read", () => ({ "retry-after": retryAfter() })), name: `429, wait in ${form}` };
}

/** Nobody is let in: not with this token, or not without one. */
export function unauthorized(challenge: string): Fault {
  return answer(401, "read", () => ({ "www-authenticate": challenge }));
}

/** The forms in which a careless server repeats what it was sent: in Basic there is a password, which it may unpack. */
export const ECHO_FORMS = {
  "as sent": (authorization: string) => authorization,
  unpacked: unpackedBasic,
  "in percents": (authorization: string) => encodeURIComponent(authorization),
  "unpacked and in percents": (authorization: string) => encodeURIComponent(unpackedBasic(authorization)),
} as const;

/** Repeats the `Authorization` of the request, wherever the answer has it. Nothing is repeated where none was sent. */
export function echo(
  status: number,
  form: keyof typeof ECHO_FORMS,
  where: string,
  answerOf: (said: string) => {
    readonly headers?: Readonly<Record<string, string>>;
    readonly text?: string;
  },
): Fault {
  const answerTo = ({ headers }: HttpHead) => answerOf(ECHO_FORMS[form](headers.get("authorization") ?? ""));
  return {
    ...answer(status, "read", (request) => answerTo(request).headers ?? {}),
    name: `${status} that repeats it ${form} in ${where}`,
    text: (request) => answerTo(request).text ?? "",
  };
}

function unpackedBasic(authorization: string): string {
  const [scheme, value = ""] = authorization.split(" ");
  return scheme === "Basic" ? Buffer.from(value, "base64").toString("utf8") : value;
}

export function redirect(body: RedirectFault["body"] = "read", status: RedirectFault["status"] = 307): Fault {
  return { type: "redirect", name: body === "read" ? `${status}` : `${status}, body ${body}`, status, body };
}

export function stall(): Fault {
  return { type: "stall", name: "stall" };
}

export function throttle(bytesPerSecond: number): Fault {
  return { type: "throttle", name: "throttle", bytesPerSecond };
}

/** To be made once for all requests: they share the link. */
export function slowLink(options: LinkOptions): Fault {
  return { type: "link", name: "slow link", link: sharedLink(options) };
}

export function passAfter(name: string, act: () => void): Fault {
  return { type: "pass", name, act };
}
