/** What is shorter may be in an address by chance: a password such as "docker-registry". */
const LEAST_CHARACTERS = 16;

/**
 * Whether an address that a server sends has in it what proves who pushes. Whoever went there would take it along, to
 * other hosts too, and it would end up in files and messages.
 *
 * @param address as the header has it
 */
export function repeatsSecret(address: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => secret.length >= LEAST_CHARACTERS && address.includes(secret));
}
