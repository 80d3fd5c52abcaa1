/** What takes longer is named while it runs. */
const SILENT_MS = 800;

/** Names what takes long, on standard error: in place on a terminal, else in a line. */
export function waitingLine(stderr: NodeJS.WriteStream) {
  let timer: NodeJS.Timeout | undefined;
  let isShown = false;
  const clear = () => {
    clearTimeout(timer);
    if (isShown) stderr.write("\r\x1b[K");
    isShown = false;
  };
  return {
    /** @param what a clause such as `Checking TLS` */
    show(what: string) {
      clear();
      timer = setTimeout(() => {
        isShown = stderr.isTTY === true;
        stderr.write(isShown ? `${what} …` : `${what} …\n`);
      }, SILENT_MS);
    },
    clear,
  };
}
