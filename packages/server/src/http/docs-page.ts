import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';

const library = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The API of Virt8ra</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="description"></div>
<noscript>This page needs JavaScript; the description itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

/** It shows and sends nothing but for the description itself: there is no place to type a token into. */
const start = `const nothing = () => () => null;
SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#description',
  deepLinking: true,
  docExpansion: 'none',
  filter: true,
  supportedSubmitMethods: [],
  validatorUrl: null,
  plugins: [() => ({ wrapComponents: { authorizeBtn: nothing, authorizeOperationBtn: nothing } })],
});
`;

const files: Readonly<Record<string, { readonly type: string; readonly open: () => string | Readable }>> = {
  'swagger-ui.css': { type: 'text/css', open: () => createReadStream(join(library, 'swagger-ui.css')) },
  'swagger-ui-bundle.js': { type: 'text/javascript', open: () => createReadStream(join(library, 'swagger-ui-bundle.js')) },
  'start.js': { type: 'text/javascript', open: () => start },
};

/** Nothing from elsewhere, nothing inline, in nobody's frame. The library draws its icons from data: URLs. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
} as const;

/** `GET /docs`: the description as a page that works without any other server. */
export function addDocsPage(app: FastifyInstance): void {
  const open = { config: { open: true } };
  app.get('/docs', open, async (_request, reply) => await reply.headers(headers).type('text/html; charset=utf-8').send(page));
  app.get<{ Params: { readonly file: string } }>('/docs/:file', open, async ({ params }, reply) => {
    const file = Object.hasOwn(files, params.file) ? files[params.file] : undefined;
    if (file === undefined) throw new Problem('not-found', `the page of the description has no file ${params.file.slice(0, 64)}`);
    return await reply.headers(headers).type(`${file.type}; charset=utf-8`).send(file.open());
  });
}
