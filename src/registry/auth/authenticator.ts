/** How a push proves who it is to the registry, request by request. */
export type Authenticator = {
  /** Nobody in particular pushes: for the words of a refusal. */
  readonly isAnonymous: boolean;
  /**
   * The `Authorization` header of the next request to the registry's own origin; undefined to go without. May ask a
   * token server first, and throw what that leads to.
   *
   * @param scopes rights that the request needs beyond those on the own repository
   */
  authorization(scopes?: readonly string[]): Promise<string | undefined>;
  /**
   * Told of a 401 or 403. Gives the header with which the request is worth being sent once more, or undefined where nothing
   * better is to be had.
   *
   * @param headers of the refusal
   * @param refused the `Authorization` that was sent
   * @param scopes as above
   */
  renew(
    headers: Headers,
    refused: string | undefined,
    scopes?: readonly string[],
  ): Promise<string | undefined>;
  /** Everything that proves who pushes, in the forms in which a server might repeat it. Never to be shown. */
  secrets(): readonly string[];
};
