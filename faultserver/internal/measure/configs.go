//go:build unix

package main

// The configurations: short timeouts where the server lets one choose, else its
// default.

const nginxConf = `
daemon off; master_process on; worker_processes 1; pid $DIR/nginx.pid; error_log stderr;
events {}
http {
  access_log off; keepalive_timeout 2s; client_header_timeout 2s;
  client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f; uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s;
  server { listen $H1; location / { proxy_pass http://$BACKEND; } }
  server { listen $H2 http2; location / { proxy_pass http://$BACKEND; } }
}`

const haproxyConf = `
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  timeout http-keep-alive 2s
  timeout http-request 3s
frontend one
  bind $H1
  bind $H2 proto h2
  default_backend two
backend two
  server s $BACKEND
`

const apacheConf = `
ServerName test
Listen $H1
Listen $H2
PidFile $DIR/pid
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
User www-data
Group www-data
Protocols h2c http/1.1
KeepAlive On
KeepAliveTimeout 2
RequestReadTimeout header=2
ProxyPass / http://$BACKEND/
`

const caddyConf = `{
	admin off
	auto_https off
	servers {
		protocols h1 h2c
		timeouts {
			idle 2s
			read_header 2s
		}
	}
}
http://:$PORT1, http://:$PORT2 {
	bind 127.0.0.1
	reverse_proxy $BACKEND
}
`

const nodeApp = `
const answer = (q, r) => setTimeout(() => r.end("ok\n"), q.url === "/slow" ? 1500 : 0);
const one = require("http").createServer({connectionsCheckingInterval: 500}, answer);
one.keepAliveTimeout = 2000; one.headersTimeout = 3000; one.requestTimeout = 6000;
one.listen(+"$H1".split(":")[1], "127.0.0.1");
const two = require("http2").createServer(answer);
two.setTimeout(2000);
two.listen(+"$H2".split(":")[1], "127.0.0.1");
process.on("SIGTERM", () => { one.close(); two.close(); });
`

const pythonApps = `
import asyncio, time

def wsgi(environ, start):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1.5)
    start("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            m = await receive()
            await send({"type": m["type"] + ".complete"})
            if m["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"ok\n"})
`

const pumaConf = `
bind "tcp://$H1"
threads 8, 8
persistent_timeout 2
first_data_timeout 3
app do |env|
  sleep 1.5 if env["PATH_INFO"] == "/slow"
  [200, {"Content-Length" => "3"}, ["ok\n"]]
end
`

const tomcatConf = `<Server port="-1">
  <Service name="Catalina">
    <Connector address="127.0.0.1" port="$PORT1" protocol="HTTP/1.1" connectionTimeout="3000" keepAliveTimeout="2000"/>
    <Connector address="127.0.0.1" port="$PORT2" protocol="HTTP/1.1">
      <UpgradeProtocol className="org.apache.coyote.http2.Http2Protocol" keepAliveTimeout="2000"/>
    </Connector>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
`

const tomcatServlets = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0">
  <servlet><servlet-name>jsp</servlet-name><servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class></servlet>
  <servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
  <servlet><servlet-name>slow</servlet-name><jsp-file>/slow.jsp</jsp-file></servlet>
  <servlet-mapping><servlet-name>slow</servlet-name><url-pattern>/slow</url-pattern></servlet-mapping>
  <servlet><servlet-name>quick</servlet-name><jsp-file>/index.jsp</jsp-file></servlet>
  <servlet-mapping><servlet-name>quick</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
</web-app>
`
