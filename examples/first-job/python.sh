cp "$WEIR/examples/first-job/first.py" .
PYTHONPATH="$WEIR/client/python" python3 first.py
