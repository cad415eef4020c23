/* Ends at once: what starting a program costs when it does nothing. */
int main(void)
{
    return 0;
}
