/** Version of this agent, as in its package.json. */
export const agentVersion = '0.1.0';
