#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';

// The short-lived objects of a start have V8 keep room for as many ever after, some 10 MiB, and an agent idles most of its life. Set here and
// not on a command line, so that it holds however the agent is started; only what is loaded afterwards is spared.
for (const flag of ['--semi-space-growth-factor=1', '--optimize-for-size']) setFlagsFromString(flag);
const { runProgram } = await import('./program.js');
await runProgram();
