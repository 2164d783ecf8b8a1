// Logs in, uses the token, verifies it as a service does, and releases it: `go run clients.go`. Needs no modules.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

var client = &http.Client{
	Timeout: 5 * time.Second,
	// A redirect would take the credential elsewhere.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// envelope is every answer under /authentication.
type envelope struct {
	Status struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"status"`
	Data struct {
		Token string `json:"token"`
	} `json:"data"`
}

// identity is whom a token speaks for.
type identity struct {
	Active       *bool  `json:"active"`
	Username     string `json:"username"`
	Organisation string `json:"organisation"`
}

// ask sends a request and reads the answer. What is no answer of Doorward's is an error: an outage says nothing about a
// token.
func ask(request *http.Request, answer any) (int, error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
		return 0, fmt.Errorf("Doorward is unavailable: %s", response.Status)
	}
	return response.StatusCode, json.NewDecoder(response.Body).Decode(answer)
}

func post(path string, body any) (envelope, error) {
	var answer envelope
	text, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	request, err := http.NewRequest("POST", os.Getenv("DOORWARD_URL")+path, bytes.NewReader(text))
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "application/json")
	if _, err = ask(request, &answer); err == nil && answer.Status.Code != "OK" {
		err = fmt.Errorf("%s: %s", answer.Status.Code, answer.Status.Message)
	}
	return answer, err
}

func logIn(organisation, username, password string) (string, error) {
	body := map[string]string{"organisation": organisation, "username": username, "password": password}
	answer, err := post("/authentication/token", body)
	return answer.Data.Token, err
}

// verify tells whom the token speaks for, nil if it is not in force. Ask for each request: a cache lets released tokens
// live.
func verify(token, key string) (*identity, error) {
	form := url.Values{"token": {token}}.Encode()
	request, err := http.NewRequest("POST", os.Getenv("DOORWARD_URL")+"/oauth2/introspect", strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(key, "")
	var answer identity
	status, err := ask(request, &answer)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK || answer.Active == nil:
		return nil, fmt.Errorf("the key may not verify tokens: status %d", status)
	case !*answer.Active:
		return nil, nil
	}
	return &answer, nil
}

func release(token string) error {
	_, err := post("/authentication/token/release", map[string]string{"token": token})
	return err
}

// work uses the token and verifies it.
func work(token, key string) error {
	request, err := http.NewRequest("GET", os.Getenv("DOORWARD_URL")+"/authentication/token", nil)
	if err != nil {
		return err
	}
	// Any guarded API takes the token in this header; Doorward's own tells whose it is.
	request.Header.Set("Authorization", "Bearer "+token)
	status, err := ask(request, &envelope{})
	if err != nil {
		return err
	}
	fmt.Println("used:", status)
	who, err := verify(token, key)
	if err == nil && who != nil {
		fmt.Println("active:", who.Username, "of", who.Organisation)
	}
	return err
}

func main() {
	key := os.Getenv("DOORWARD_KEY")
	token, err := logIn(os.Getenv("DOORWARD_ORGANISATION"), os.Getenv("DOORWARD_USERNAME"), os.Getenv("DOORWARD_PASSWORD"))
	if err != nil {
		log.Fatal(err)
	}
	failure := work(token, key)
	if err := release(token); err != nil {
		log.Fatal("the token may still be in force: ", err)
	}
	if failure != nil {
		log.Fatal(failure)
	}
	who, err := verify(token, key)
	if err != nil {
		log.Fatal(err)
	}
	if who == nil {
		fmt.Println("released")
	}
}
