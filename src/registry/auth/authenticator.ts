import type { Call } from "../../retry.ts";
import type { Credentials } from "./credentials.ts";

/** The answer to a request that was not allowed. */
export type Refusal = { readonly status: number; readonly headers: Headers; readonly text: string };

/** Proves to a registry who pushes, request by request. */
export type Authenticator = {
  /** Returns the credentials, for messages about a refusal. Undefined: the push is anonymous. */
  credentials(): Credentials | undefined;
  /**
   * Returns the `Authorization` header of the next request to the registry's own origin, or undefined for none. May ask
   * a token server first, and throws what that throws.
   *
   * @param scopes the rights that the request needs
   */
  authorization(scopes: readonly string[], call: Call): Promise<string | undefined>;
  /** Notes that a request with this `Authorization` was accepted. */
  accepted(authorization: string | undefined): void;
  /**
   * Takes a 401 or 403. Returns the header with which the request is to be sent once more, or undefined where there is
   * no better one. May ask for new credentials first, and throws what that throws.
   *
   * @param refused the `Authorization` that was sent
   * @param scopes as above
   */
  renew(
    refusal: Refusal,
    refused: string | undefined,
    scopes: readonly string[],
    call: Call,
  ): Promise<string | undefined>;
  /** Returns everything that proves who pushes, in the forms in which a server might repeat it. Never show it. */
  secrets(): readonly string[];
};
