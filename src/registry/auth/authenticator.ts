import type { Call } from "../../retry.ts";
import type { Credentials } from "./credentials.ts";

/** An answer 401 or 403. */
export type Refusal = { readonly status: number; readonly headers: Headers; readonly text: string };

/** Authenticates the requests to a registry. */
export type Authenticator = {
  /** Returns the credentials, for messages about a refusal. Undefined for an anonymous push. */
  credentials(): Credentials | undefined;
  /**
   * Returns the `Authorization` header for a request to the registry's own origin, or undefined for none. May ask a token
   * server first, and throws the errors of that.
   *
   * @param scopes the scopes that the request needs
   */
  authorization(scopes: readonly string[], call: Call): Promise<string | undefined>;
  /** Notes that a request with this `Authorization` was accepted. */
  accepted(authorization: string | undefined): void;
  /**
   * Handles a 401 or 403. Returns the `Authorization` header with which to repeat the request, or undefined if there is no
   * better one. May renew the credentials first, and throws the errors of that.
   *
   * @param refused the `Authorization` header that was sent
   */
  renew(
    refusal: Refusal,
    refused: string | undefined,
    scopes: readonly string[],
    call: Call,
  ): Promise<string | undefined>;
  /** Returns all secrets, in the forms in which a server might repeat them. They are masked in messages. */
  secrets(): readonly string[];
};
