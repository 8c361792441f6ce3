// `npm run agent -- ARGS`: the agent of this host, with what it needs installed and built.
import { ensure, NEEDS_INSTALL } from './ensure.mjs';
import { handOver } from './hand-over.mjs';

// An ordinary user's guests need neither bridges nor packet filters.
const system = /** @type {const} */ (process.getuid?.() === 0 ? ['qemu', 'net', 'seed'] : ['qemu', 'seed']);
if (!ensure({ system: [...system] })) process.exit(NEEDS_INSTALL);
handOver('packages/agent/dist/main.js', process.argv.slice(2));
