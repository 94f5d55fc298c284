/** Name and version that the server is told, for support. Not a user agent. */
export const SDK = 'conclave-web/0.1.0';
