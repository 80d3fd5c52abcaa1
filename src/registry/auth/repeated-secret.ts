/** An address may contain a shorter password by chance, such as "docker-registry". */
const LEAST_CHARACTERS = 16;

/**
 * Tells whether an address from a server contains a secret. A request to it would carry the secret to other hosts, and
 * the address ends up in files and messages.
 *
 * @param address the header's text
 */
export function repeatsSecret(address: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => secret.length >= LEAST_CHARACTERS && address.includes(secret));
}
