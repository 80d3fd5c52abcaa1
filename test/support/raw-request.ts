import { connect } from "node:net";

/** Sends bytes to a server as they are, and returns what it answers until it or `isWhole` ends the connection. */
export async function rawRequest(
  host: string,
  text: string,
  isWhole: (answer: string) => boolean = (answer) => answer.includes("\r\n\r\n"),
): Promise<string> {
  const { hostname, port } = new URL(`http://${host}`);
  const socket = connect(Number(port), hostname);
  socket.write(text, "latin1");
  let answer = "";
  try {
    for await (const piece of socket) {
      answer += piece.toString("latin1");
      if (isWhole(answer)) break;
    }
  } catch {
    // A reset ends the answer, too.
  }
  socket.destroy();
  return answer;
}

/** Sends a request without a body whose path no client would normalize. @returns the status */
export async function rawStatus(host: string, path: string, method = "GET"): Promise<number> {
  const answer = await rawRequest(host, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
}
