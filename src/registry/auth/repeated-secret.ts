/** A shorter secret may be in an address by chance: a password such as "docker-registry". */
const LEAST_CHARACTERS = 16;

/**
 * Tells whether an address from a server contains a secret. Following it would carry the secret to other hosts, into
 * files and into messages.
 *
 * @param address the header's text
 */
export function repeatsSecret(address: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => secret.length >= LEAST_CHARACTERS && address.includes(secret));
}
