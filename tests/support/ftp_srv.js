// Serves a directory by FTP with ftp-srv: node ftp_srv.js ROOT PORT. Any login is good.
const FtpSrv = require('ftp-srv').FtpSrv || require('ftp-srv');
const [, , root, port] = process.argv;
const server = new FtpSrv({url: `ftp://127.0.0.1:${port}`, pasv_url: '127.0.0.1', pasv_min: 1024});
server.on('login', (login, resolve) => resolve({root}));
server.listen();
