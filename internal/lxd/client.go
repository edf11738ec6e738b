package lxd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// patience is the longest that an operation may take. Nothing that is asked of a daemon
// here is long: a daemon that needs more hangs.
const patience = 60 * time.Second

// client speaks to a daemon over its socket.
type client struct{ http *http.Client }

func newClient(socket string) *client {
	return &client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}}}
}

// apiError is a daemon's refusal, in its own words.
type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return e.text }

// absent says whether a daemon has refused because there is no such thing.
func absent(err error) bool {
	var refused *apiError
	return errors.As(err, &refused) && refused.code == http.StatusNotFound
}

// changed says whether a daemon has refused because the thing is not any more what was read.
func changed(err error) bool {
	var refused *apiError
	return errors.As(err, &refused) && refused.code == http.StatusPreconditionFailed
}

// answer is what every request is answered with.
type answer struct {
	Type      string          `json:"type"` // sync, async or error
	Code      int             `json:"error_code"`
	Error     string          `json:"error"`
	Operation string          `json:"operation"` // path of what goes on, if async
	Metadata  json.RawMessage `json:"metadata"`
}

// request is what a daemon is asked for.
type request struct {
	method, path string
	query        url.Values
	body         any // sent as JSON, []byte as it is
	header       http.Header
}

// call asks, waits for the end of what the daemon does in the background, and puts what
// it says into result, unless that is nil. It returns the tag by which the daemon knows
// the state of the thing that was read. A change that has been asked for is waited for even
// if ctx ends meanwhile: the daemon makes it in any case, and whoever is to take it back
// would come too early.
func (c *client) call(ctx context.Context, r request, result any) (tag string, err error) {
	if r.method != http.MethodGet {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, patience+5*time.Second) // the daemon's own word comes first
	defer cancel()
	a, tag, err := c.send(ctx, r)
	if err != nil {
		return "", err
	}
	if a.Type == "async" {
		return tag, c.wait(ctx, a.Operation)
	}
	if result == nil {
		return tag, nil
	}
	if err := json.Unmarshal(a.Metadata, result); err != nil {
		return "", fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	return tag, nil
}

func (c *client) get(ctx context.Context, path string, query url.Values, result any) error {
	_, err := c.call(ctx, request{method: http.MethodGet, path: path, query: query}, result)
	return err
}

// send asks and reads the answer.
func (c *client) send(ctx context.Context, r request) (a answer, tag string, err error) {
	var body []byte
	switch content := r.body.(type) {
	case nil:
	case []byte:
		body = content
	default:
		if body, err = json.Marshal(content); err != nil {
			return answer{}, "", err
		}
	}
	// The host's name is not looked up: the socket is the daemon's.
	target := url.URL{Scheme: "http", Host: "daemon", Path: r.path, RawQuery: r.query.Encode()}
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, "", err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, "", plainly(err)
	}
	defer resp.Body.Close() //nolint:errcheck // all of it has been read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, "", err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return answer{}, "", fmt.Errorf("%s %s: the answer, %s, is none of LXD's or Incus': %w", r.method, r.path, resp.Status, err)
	}
	if a.Type == "error" {
		return answer{}, "", &apiError{a.Code, a.Error}
	}
	return a, resp.Header.Get("ETag"), nil
}

// plainly takes what says nothing to a user off an error: the request's made-up host.
func plainly(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return err
}

// refused says whether nobody listens at the socket.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// What the status codes of operations say.
const (
	succeeded = 200
	failed    = 400
	cancelled = 401
)

// wait waits for the end of an operation. The error is the daemon's.
func (c *client) wait(ctx context.Context, operation string) error {
	path, _ := cutQuery(operation)
	var op struct {
		Code int    `json:"status_code"`
		Err  string `json:"err"`
	}
	seconds := url.Values{"timeout": {fmt.Sprint(int(patience.Seconds()))}}
	if err := c.get(ctx, path+"/wait", seconds, &op); err != nil {
		return fmt.Errorf("wait for it: %w", err)
	}
	switch {
	case op.Code == succeeded:
		return nil
	case op.Err != "":
		return errors.New(op.Err)
	case op.Code == failed:
		return errors.New("it failed, and the daemon does not say why")
	case op.Code == cancelled:
		return errors.New("it was cancelled")
	}
	return fmt.Errorf("it is still going on after %v", patience)
}

// cutQuery parts the path of a thing from the project that it is in; none is the
// default one.
func cutQuery(reference string) (path, project string) {
	u, err := url.Parse(reference)
	if err != nil {
		return reference, ""
	}
	return u.Path, u.Query().Get("project")
}
