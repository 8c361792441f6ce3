// `npm run generate`: the types of packages/client, from what the server as it stands here says of its API.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { clientTypesOf, clientTypesPath } from './client-types.mjs';
import { root } from './ensure.mjs';

// Not all of the repository: what uses the client may not compile before its types are there.
execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', join(root, 'packages/server')], { stdio: 'inherit' });
const main = join(root, 'packages/server/dist/main.js');
const text = execFileSync(process.execPath, [main, '--print-openapi'], { encoding: 'utf8', maxBuffer: 64 << 20 });
writeFileSync(clientTypesPath, await clientTypesOf(JSON.parse(text)));
process.stdout.write(`${relative(root, clientTypesPath)}\n`);
