import { declaredLength } from "./incoming-body.ts";

const PAGE = `<html>\r
<head><title>413 Request Entity Too Large</title></head>\r
<body>\r
<center><h1>413 Request Entity Too Large</h1></center>\r
<hr><center>cloudflare</center>\r
</body>\r
</html>\r
`;

/**
 * Cloudflare's edge stands before the Worker and limits the body by plan. It goes by the announced length, reads
 * nothing, answers with a page instead of the registry's JSON, and hangs up.
 */
export function refuseLargeBody(request: Request, maxBodyBytes: number): Response | undefined {
  if ((declaredLength(request) ?? 0) <= maxBodyBytes) return undefined;
  return new Response(PAGE, {
    status: 413,
    headers: { "Content-Type": "text/html", Connection: "close", Server: "cloudflare" },
  });
}
