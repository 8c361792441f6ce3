// `npm start [-- ARGS]`: the control plane alone, with what it needs installed and built.
import { ensure, NEEDS_INSTALL } from './ensure.mjs';
import { handOver } from './hand-over.mjs';

if (!ensure()) process.exit(NEEDS_INSTALL);
handOver('packages/server/dist/main.js', process.argv.slice(2));
