/** Shorter work is not shown. */
const SILENT_MS = 800;

/** Shows long work on standard error: in place on a terminal, else in a line. */
export function waitingLine(stderr: NodeJS.WriteStream) {
  let timer: NodeJS.Timeout | undefined;
  let isShown = false;
  const clear = () => {
    clearTimeout(timer);
    if (isShown) stderr.write("\r\x1b[K");
    isShown = false;
  };
  return {
    /** @param what the work, such as `Checking TLS` */
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
