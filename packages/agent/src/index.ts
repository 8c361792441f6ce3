export { type RunningAgent, startAgent } from './agent.js';
export { type AgentConfig, type ConfigInput, type EnrolConfig, parseConfig } from './config.js';
export { enrolHost } from './link/enrol-host.js';
export { createLog, type Log, silentLog } from './log.js';
