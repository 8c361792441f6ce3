#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';

// Without it a burst of requests leaves twice as much garbage as there is in use, and it stays for as long as the server has little to do.
// Set here and not on a command line, so that it holds however the server is started.
setFlagsFromString('--optimize-for-size');
const { runProgram } = await import('./program.js');
await runProgram();
