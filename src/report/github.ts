/** https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands */

/** Formats a command of GitHub Actions. Texts are escaped, so they cannot add properties or commands. */
export function workflowCommand(
  name: "group" | "endgroup" | "error",
  message = "",
  properties: Readonly<Record<string, string>> = {},
): string {
  const pairs = Object.entries(properties).map(([key, value]) => `${key}=${escapeProperty(value)}`);
  return `::${name}${pairs.length > 0 ? ` ${pairs.join(",")}` : ""}::${escapeData(message)}`;
}

function escapeData(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}
