cp "$WEIR/examples/first-job/First.java" .
export CLASSPATH="$JACKSON:classes"
javac -d classes -sourcepath "$WEIR/client/java/src/main/java" First.java
java First
